"""Features that use all that can be declared, and names and texts that have to be escaped."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from x121.builtin.echo import Echo
from x121.core.models import Id, Model, Text, Timestamp
from x121.messaging.handlers import Handlers, Message
from x121.messaging.router import WsRouter
from x121.testing import App
from x121.ws.connection import WsConnection

__all__ = ["EVIL", "Said", "make_websockets"]

EVIL = """<script>alert("&amp;' `x`")</script>"""


class Said(Model):
    """What is said in a room."""

    text: Text = Field(min_length=1, max_length=500)
    """What to say; `quiet` or loud."""
    tags: list[Literal["loud", "quiet"]] = Field(default=["loud"], max_length=3)


class Line(Model):
    id: Id
    by: UUID
    said: Said
    at: Timestamp


class Circle(Model):
    kind: Literal["circle"]
    radius: float = Field(gt=0)


class Square(Model):
    kind: Literal["square"]
    sides: tuple[float, float]


class Tree(Model):
    shape: Annotated[Circle | Square, Field(discriminator="kind")]
    """Which one it is."""
    parts: dict[str, Tree] = Field(default_factory=dict)
    parent: Tree | None = None


class Chat:
    messages = Handlers()
    room = messages.topic("rooms/{room}", public=True)
    said = messages.event(
        "chat.said", Line, topic=room, description="Somebody said something.\n\nAloud."
    )
    evil = messages.event(f"event {EVIL}", int, description=EVIL)

    @messages.on("chat.say")
    async def say(self, message: Message[Said]) -> list[Line]:
        """Say something to everybody
        in a room.

        They hear ``chat.said``.

        See :class:`~tests.builtin.docs.features.Said`.
        """
        raise NotImplementedError

    @messages.on("chat/maybe")
    def maybe(self, message: Message[int | None]) -> None: ...

    @messages.on("chat_maybe")
    def tree(self, message: Message[Tree]) -> Tree:
        return message.data

    def evil_handler(self, message: Message) -> Any: ...

    evil_handler.__doc__ = f"{EVIL}\n\n{EVIL}"
    messages.on(EVIL)(evil_handler)


class Feed:
    __doc__ = f"Frames as they are, {EVIL}.\n\nOf any kind."
    takes_events = True

    def opened(self, connection: WsConnection) -> None: ...
    def received(self, connection: WsConnection, payload: bytes, is_binary: bool) -> None: ...


def make_websockets(*, with_features: bool = True) -> WsRouter:
    """Return the server's WebSockets, with these features or with what is built in alone."""
    with App() as app:
        state = app.state
    websockets = WsRouter(state.config, state.ws_manager)
    if with_features:
        websockets.nest(Chat().messages).mount("/echo", Echo()).mount("/feed", Feed())
    return websockets
