"""Clients in memory that take large responses slowly, and a feature that has such responses."""

from __future__ import annotations

from twisted.internet.task import deferLater

from x121.application import AppState
from x121.http.delivery import SLICE_BYTES
from x121.http.request import Request
from x121.testing.app import App
from x121.testing.connection import Connection
from x121.web.router import Router

__all__ = ["BODY", "SlowReader", "large"]

BODY = bytes(range(256)) * 1000  # some slices, and a part of one


class Large:
    """Responses of :data:`BODY`: at once, late, behind a part that is written, and with a 204."""

    router = Router()

    def __init__(self, state: AppState) -> None:
        self._clock = state.ws_manager.clock

    @router.route("/now")
    def now(self, request: Request) -> bytes:
        return BODY

    @router.route("/late")
    async def late(self, request: Request) -> bytes:
        await deferLater(self._clock, 1)
        return BODY

    @router.route("/rest")
    def rest(self, request: Request) -> bytes:
        request.write(b"first, ")
        return BODY

    @router.route("/none")
    def none(self, request: Request) -> bytes:
        request.setResponseCode(204)
        return BODY

    @router.route("/page")
    def page(self, request: Request) -> bytes:
        request.setResponseCode(404)
        return BODY


def large(state: AppState) -> Router:
    """Return the routes of a feature with large responses."""
    return Large(state).router


class SlowReader:
    """A client that has asked for ``path``, and takes a slice of the response with :meth:`take`."""

    def __init__(self, app: App, path: str = "/test/now") -> None:
        self.connection: Connection = app.connect()
        transport = self.connection.transport
        write = transport.write

        def write_and_pause(data: bytes) -> None:
            write(data)
            if len(data) >= SLICE_BYTES:
                self.connection.channel.pauseProducing()  # as TCP does when its buffer is full

        transport.write = write_and_pause  # type: ignore[method-assign]
        self.connection.send_request("GET", path)

    @property
    def received(self) -> int:
        """How many bytes of the body were sent."""
        return len(self.connection.received.partition(b"\r\n\r\n")[2])

    @property
    def is_dropped(self) -> bool:
        """Whether the server has reset the connection."""
        return self.connection.transport.aborted

    def take(self) -> None:
        """Take all that was sent, so that a slice more is."""
        self.connection.channel.resumeProducing()

    def take_all(self) -> bytes:
        """Take the whole body, and return it."""
        while (response := self.connection.next_response()) is None:
            self.take()
        self.take()
        return response.body
