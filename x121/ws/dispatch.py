"""From a message to its handler, and from what that returns to the reply."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import isawaitable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from x121.errors import BadRequest, NotFound, RequestTimeout, as_app_error
from x121.failures import report
from x121.http.deadlines import Deadlines
from x121.ws.connection import WsConnection
from x121.ws.messages import Handler, Message
from x121.ws.wire import decode, encode_error, encode_reply

__all__ = ["Dispatch"]

_LINE = "Message {message_type}: {log_reason}"


class Dispatch:
    """The endpoint that speaks the messages of :mod:`x121.ws.wire`.

    A handler has ``seconds`` for its reply; then the message is answered with an error, and the
    handler is cancelled.
    """

    takes_events = True

    def __init__(
        self, handlers: Mapping[str, Handler], *, seconds: float, clock: IReactorTime
    ) -> None:
        self._handlers = handlers
        self._seconds = seconds
        self._deadlines: Deadlines[_Handling] = Deadlines(seconds, self._expired, clock=clock)

    def opened(self, connection: WsConnection) -> None:
        """Tell the client its connection's id."""
        connection.send("welcome", {"connection_id": connection.id})

    async def received(self, connection: WsConnection, payload: bytes, is_binary: bool) -> None:
        """Answer a message, with a reply or an error."""
        fields: dict[str, Any] = {}
        try:
            fields = _read(payload, is_binary)
            data = await self._call(fields, connection)
            answer = encode_reply(fields.get("id"), data)
        except GeneratorExit:
            raise
        except BaseException:  # a handler that wants to exit, too, is answered, and nothing more
            failure = Failure()
            if failure.check(CancelledError) and not connection.can_send:
                return  # the handler ended because its connection did
            answer = _answer_failure(failure, fields)
        connection.send_payload(answer)

    async def _call(self, fields: dict[str, Any], connection: WsConnection) -> Any:
        message_type = fields.get("type")
        if not isinstance(message_type, str):
            raise BadRequest("A message has a type, which is text")
        handler = self._handlers.get(message_type)
        if handler is None:
            raise NotFound(f"There are no messages of type {_shown(fields)}")
        message = Message(message_type, fields.get("id"), fields.get("data"), connection)
        result = handler(message)
        if isawaitable(result):
            return await _Handling(result, self._deadlines).result
        return result

    def _expired(self, handling: _Handling) -> None:
        handling.give_up(RequestTimeout(f"The message took longer than {self._seconds:g} s"))


class _Handling:
    """A handler at work.  ``result`` fires with what it returns, or at the deadline fails."""

    def __init__(self, awaitable: Any, deadlines: Deadlines[_Handling]) -> None:
        self._deadlines = deadlines
        self._error: Exception | None = None
        self._running: Deferred[Any] = (
            awaitable if isinstance(awaitable, Deferred) else Deferred.fromCoroutine(awaitable)
        )
        self.result: Deferred[Any] = Deferred(self._cancel)
        deadlines.start(self)
        self._running.addBoth(self._ended)

    def give_up(self, error: Exception) -> None:
        """Cancel the handler and fail with ``error``, whatever it still says, or doesn't."""
        self._error = error
        self._running.cancel()
        if not self.result.called:
            self.result.errback(error)

    def _cancel(self, _: object) -> None:
        """End it, and don't wait for its end: it may take its time."""
        self._deadlines.stop(self)
        self._running.cancel()

    def _ended(self, value: Any) -> None:
        self._deadlines.stop(self)
        if self._error is not None and isinstance(value, Failure):
            _report_late(value)
        elif self._error is None and not self.result.called:
            self.result.callback(value)


# --- the two ends of it -------------------------------------------------------------------


def _read(payload: bytes, is_binary: bool) -> dict[str, Any]:
    """Return the fields of a message."""
    if is_binary:
        raise BadRequest("Messages are JSON, sent as text")
    return decode(payload)


def _answer_failure(failure: Failure, fields: dict[str, Any]) -> bytes:
    assert failure.value is not None
    error = as_app_error(failure.value)
    report(failure, error, _LINE, message_type=_shown(fields))
    return encode_error(fields.get("id"), error)


def _report_late(failure: Failure) -> None:
    """Log what a handler raised after its time was up, unless that was the reason for it."""
    if not failure.check(CancelledError):
        assert failure.value is not None
        report(failure, as_app_error(failure.value), "After its time was up: {log_reason}")


def _shown(fields: dict[str, Any]) -> str:
    """Return what the client calls the message's type, short enough for a line."""
    return repr(fields.get("type"))[:100]
