"""What is measured beside ``/health`` and ``/ws/echo``: features as anybody would write them."""

from __future__ import annotations

import orjson
from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest

from bench.processes import ROOT
from bench.ws.contract import BROADCAST, EVENT, PATH
from x121.application import Application, AppState, Feature
from x121.http.request import Request
from x121.messaging.handlers import Handlers, Message
from x121.messaging.router import WsRouter
from x121.web.responses import json_response
from x121.web.router import Router

__all__ = ["application"]


class Items(Feature):
    """``/items``: a number in the path."""

    router = Router()

    @router.route("/<int:item_id>")
    async def show(self, request: IRequest, item_id: int) -> bytes:
        """Answer with the number in the path."""
        return json_response(request, {"id": item_id})


class Echo(Feature):
    """``/echo``: JSON in and out."""

    router = Router()

    @router.route("/", methods=["POST"])
    def echo(self, request: Request) -> bytes:
        """Answer with what was sent."""
        return json_response(request, orjson.loads(request.content.read()))


class Rows(Feature):
    """``/rows``: the database."""

    router = Router()

    def __init__(self, state: AppState) -> None:
        self._pool = state.pool

    @router.route("/<int:row_id>")
    async def show(self, request: IRequest, row_id: int) -> bytes:
        """Answer with a row of the database."""
        (title,) = await self._pool.fetch_one(
            "SELECT title FROM bench_rows WHERE id = %s", (row_id,)
        )
        return json_response(request, {"id": row_id, "title": title})


class Panic(Feature):
    """``/panic``: a fault."""

    router = Router()

    @router.route("/")
    async def panic(self, _: IRequest) -> bytes:
        """Fail as nobody expects."""
        raise RuntimeError("nobody expects this")


class Slow(Feature):
    """``/slow``: no answer."""

    router = Router()

    @router.route("/")
    async def slow(self, _: IRequest) -> bytes:
        """Take too long."""
        never: Deferred[bytes] = Deferred()
        return await never


class Broadcasts:
    """A message that goes to everybody, and is answered with how many connections took it."""

    messages = Handlers()

    def __init__(self, state: AppState) -> None:
        self._manager = state.ws_manager

    @messages.on(BROADCAST)
    async def broadcast(self, message: Message) -> int:
        """Send the data to everybody."""
        return self._manager.broadcast(EVENT, message.data)


class MoreMessages(Feature):
    """The same messages at an endpoint of their own."""

    def __init__(self, state: AppState) -> None:
        websockets = WsRouter(state.config, state.ws_manager)
        self.router = websockets.nest(Broadcasts(state).messages).routes


application = (
    Application("bench", database="trulience_x121", migrations=ROOT / "migrations")
    .nest("/items", Items, below="")
    .nest("/echo", Echo, below="")
    .nest("/rows", Rows, below="")
    .nest("/panic", Panic, below="")
    .nest("/slow", Slow, below="")
    .nest(PATH, MoreMessages, below="")
)
