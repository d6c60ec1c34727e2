"""Console: a page for operators that shows the server's activity.

The :mod:`recorder` measures all the time.  The :mod:`feed` sends the measurements to every open
page once a second, over a WebSocket.  :mod:`pages` serves the page, its style and its script, and
:mod:`access` controls access to all of it.
"""

from __future__ import annotations

from x121.application import AppState
from x121.builtin.console.access import Access
from x121.builtin.console.feed import Feed
from x121.builtin.console.pages import Pages
from x121.builtin.console.recorder import Recorder
from x121.messaging.router import WsRouter
from x121.web.router import Router

__all__ = ["mount_console"]


def mount_console(state: AppState, router: Router, websockets: WsRouter) -> None:
    """Serve the console at ``/console``, and its feed at ``/ws/console``."""
    clock = state.ws_manager.clock
    access = Access(state.config.server.diagnostics_token, clock=clock)
    recorder = Recorder(state)
    recorder.setServiceParent(state.services)
    feed = Feed(recorder, state)
    router.nest("/console", Pages(access).router)
    websockets.mount("/console", feed, authenticate=access.check, origins=())
