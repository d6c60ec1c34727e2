"""Routes and messages that misbehave as real ones may, for tests only."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.web.iweb import IRequest

from tests.process import wall_clock
from tests.process.catalogue import Catalogue
from tests.process.turns import Turns
from x121.app.projects.routes import Projects
from x121.application import Application, AppState, Feature
from x121.core.models import Model
from x121.messaging.handlers import Handlers, Message
from x121.messaging.router import WsRouter
from x121.web.responses import json_response, no_content
from x121.web.router import Router

__all__ = ["application"]

_log = Logger()
_CHUNK = b"x" * 65_536
_MIGRATIONS = Path(__file__).parents[2] / "migrations"


class Note(Model):
    """Something about a room."""

    room: str
    text: str


class Trials(Feature):
    """Each logs that it has begun, so that a test knows when a request is in flight."""

    router = Router()
    messages = Handlers()
    room = messages.topic("trials/{room}", public=True)
    noted = messages.event("trials.noted", Note, topic=room)

    @router.route("/hold")
    async def hold(self, request: IRequest) -> bytes:
        """Answers once there is a file ``release`` in the working directory."""
        _log.info("Trial begun")
        while not self._released():
            await _pause(0.01)
        return json_response(request, {"held": True})

    def _released(self) -> bool:
        return Path("release").exists()

    @router.route("/query/<float:seconds>")
    async def query(self, request: IRequest, seconds: float) -> bytes:
        """Has PostgreSQL sleep for ``seconds``."""
        _log.info("Trial begun")
        await self.state.pool.fetch_one("SELECT pg_sleep(%s)", (seconds,))
        return json_response(request, {"slept": seconds})

    @router.route("/stream/<int:chunks>")
    async def stream(self, request: Any, chunks: int) -> None:
        """Sends ``chunks`` times 64 KiB, a chunk a turn of the reactor."""
        _log.info("Trial begun")
        for _ in range(chunks):
            request.write(_CHUNK)
            await _pause(0)

    @router.route("/halves")
    async def halves(self, request: Any) -> None:
        """Sends 64 KiB, and once there is a file ``release`` 64 KiB more."""
        _log.info("Trial begun")
        request.write(_CHUNK)
        while not self._released():
            await _pause(0.01)
        request.write(_CHUNK)

    @router.route("/thread/<float:seconds>")
    async def thread(self, request: IRequest, seconds: float) -> bytes:
        """Sleeps for ``seconds`` in a thread, which nothing can cancel."""
        _log.info("Trial begun")
        await deferToThread(time.sleep, seconds)
        return no_content(request)

    @router.route("/busy/<float:seconds>")
    def busy(self, request: IRequest, seconds: float) -> bytes:
        """Keeps the reactor busy for ``seconds`` of CPU time."""
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
        return no_content(request)

    @router.route("/step/<int:seconds>", defaults={"sign": 1})
    @router.route("/step/-<int:seconds>", defaults={"sign": -1})
    def step(self, request: IRequest, seconds: int, sign: int) -> bytes:
        """Sets the wall clock forward, or back."""
        wall_clock.step(sign * seconds)
        return no_content(request)

    @router.route("/large")
    def large(self, request: IRequest) -> bytes:
        """Answers with 8 MiB at once."""
        return _CHUNK * 128

    @router.route("/fail")
    def fail(self, _: IRequest) -> bytes:
        """Raises what no handler expects."""
        raise RuntimeError("a secret of the handler's")

    @router.route("/noise")
    def noise(self, request: IRequest) -> bytes:
        """Writes in every way but ours."""
        sys.stdout.write("noise from print\n")
        sys.stderr.write("noise from standard error\n")
        warnings.warn("noise from warnings", stacklevel=1)
        logging.getLogger("library").warning("noise from %s", "logging")
        return no_content(request)

    @router.route("/cookie", methods=["GET", "POST"])
    def cookie(self, request: Any) -> bytes:
        """Answers with the cookie ``trial`` that came, or null."""
        cookie = request.getCookie(b"trial")
        return json_response(request, None if cookie is None else cookie.decode())

    # --- messages -------------------------------------------------------------------------

    @messages.on("trials.hold")
    async def hold_message(self, message: Message) -> str:
        """Replies once there is a file ``release`` in the working directory."""
        _log.info("Trial begun")
        while not self._released():
            await _pause(0.01)
        return "held"

    @messages.on("trials.broadcast")
    def broadcast(self, message: Message) -> int:
        """Sends the event ``trials.news`` to everybody, and replies how many took it."""
        return self.state.ws_manager.broadcast("trials.news", message.data)

    @messages.on("trials.note")
    async def note(self, message: Message[Note]) -> int:
        """Tells those who subscribed to the room, and replies how many took it."""
        note = message.data
        return self.state.ws_manager.publish_event(self.noted, note, room=note.room)

    @messages.on("trials.close")
    def close(self, message: Message) -> None:
        """Closes the connection with the code given."""
        message.connection.close(message.data, "as asked")

    @messages.on("trials.subscribe")
    def subscribe(self, message: Message) -> None:
        """Subscribes to the topics given."""
        for topic in message.data:
            self.state.ws_manager.subscribe(message.connection, topic)

    @messages.on("trials.raise")
    def raise_text(self, message: Message) -> None:
        """Raises what no handler expects, with the text given."""
        raise RuntimeError(message.data)

    @messages.on("trials.fail")
    def fail_message(self, message: Message) -> None:
        """Raises what no handler expects."""
        raise RuntimeError("a secret of the handler's")


def _pause(seconds: float) -> Deferred[None]:
    from twisted.internet import reactor

    return deferLater(reactor, seconds)


class Messages(Feature):
    """The same messages at an endpoint of their own, ``/ws/trials``."""

    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        websockets = WsRouter(state.config, state.ws_manager)
        self.router = websockets.nest(Trials(state).messages).routes


# What is at /catalogue behaves, and declares what it does.
application = (
    # Those of the application, which tests start on the same databases.
    Application("trials", database="trulience_x121", migrations=_MIGRATIONS)
    .nest("/projects", Projects)
    .nest("/trials", Trials, below="")
    .nest("/ws/trials", Messages, below="")
    .nest("/trials/turns", Turns, below="")
    .nest("/catalogue", Catalogue, below="")
)
