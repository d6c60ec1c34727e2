"""Tools for testing features: the server in memory, databases, WebSockets, a clock.

:class:`App` is the server. Use :meth:`App.request` for requests that get a response at once. Await
those that wait for something real, such as the database: :meth:`App.fetch`,
:meth:`WebSocket.send_request`::

    async with running_pool(database) as pool:
        with App(pool=pool) as app:
            assert (await app.fetch("GET", "/health/ready")).status == 200
            assert await app.websocket().send_request("ping") == "pong"

:mod:`x121.testing.fixtures` provides all of this as pytest fixtures, :mod:`x121.testing.trial` as a
test case for trial. Neither is imported here.
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
