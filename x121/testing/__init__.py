"""What tests of features need: the server in memory, a database each, WebSockets, a clock.

:class:`App` is the server.  What answers at once is asked with :meth:`App.request`; what waits for
something real, such as the database, is awaited: :meth:`App.fetch`, :meth:`WebSocket.ask`::

    async with running_pool(database) as pool:
        with App(pool=pool) as app:
            assert (await app.fetch("GET", "/health/ready")).status == 200
            assert await app.websocket().send_request("ping") == "pong"

pytest has all of this as fixtures, :mod:`x121.testing.fixtures`; trial as a test case,
:mod:`x121.testing.trial`.  Neither is imported here.
"""

from __future__ import annotations

from x121.testing.app import App, Served
from x121.testing.connection import Connection, Response
from x121.testing.database import Databases, running_pool
from x121.testing.frames import Frame
from x121.testing.postgres import Postgres, running_postgres
from x121.testing.websocket import Closed, ErrorReply, HandshakeRejected, WebSocket

__all__ = [
    "App",
    "Closed",
    "Connection",
    "Databases",
    "ErrorReply",
    "Frame",
    "HandshakeRejected",
    "Postgres",
    "Response",
    "Served",
    "WebSocket",
    "running_pool",
    "running_postgres",
]
