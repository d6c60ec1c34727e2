"""The console: what the server does now, on a page, for whoever runs it.

The :mod:`recorder` counts, whether anybody looks or not.  The :mod:`feed` tells it to every page
that is open, once a second, over a WebSocket; :mod:`pages` are the page and what belongs to it, and
:mod:`access` says who may see either.
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
