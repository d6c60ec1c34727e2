"""The measured features besides ``/health`` and ``/ws/echo``, typed as users write them."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest

from bench.processes import ROOT
from bench.ws.contract import BROADCAST, EVENT, PATH
from x121.application import Application, AppState, Feature
from x121.core.models import Id, Model, Text
from x121.messaging.handlers import Handlers, Message
from x121.messaging.router import WsRouter
from x121.web.router import Router

__all__ = ["application"]


class Item(Model):
    """A thing with a number."""

    id: Id


class Line(Model):
    """A line of an order."""

    sku: Text
    name: Text
    count: int
    price: float


class Order(Model):
    """An order of several things."""

    id: Id
    paid: bool
    address: Text | None
    lines: list[Line]
    note: Text


class Row(Model):
    """A row of the database."""

    id: Id
    title: Text


class Items(Feature):
    """``/items``: a number in the path."""

    router = Router()

    @router.get("/<int:item_id>")
    async def show(self, item_id: Id) -> Item:
        """Show an item."""
        return Item(id=item_id)


class Echo(Feature):
    """``/echo``: JSON in and out."""

    router = Router()

    @router.post("/")
    async def echo(self, order: Order) -> Order:
        """Send an order back."""
        return order


class Rows(Feature):
    """``/rows``: the database."""

    router = Router()

    def __init__(self, state: AppState) -> None:
        self._pool = state.pool

    @router.get("/<int:row_id>")
    async def show(self, row_id: Id) -> Row:
        """Show a row of the database."""
        query = "SELECT id, title FROM bench_rows WHERE id = %s"
        return await self._pool.fetch_one(query, (row_id,), into=Row)


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
