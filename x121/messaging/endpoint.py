"""Message endpoint: calls the handler of each message, and sends its result as the reply."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from types import CoroutineType
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from x121.core.coroutines import run_eagerly
from x121.core.deadlines import Deadlines
from x121.errors import BadRequest, NotFound, RequestTimeout, as_app_error
from x121.errors.reporting import log_failure
from x121.messaging.built_in import BuiltIn
from x121.messaging.codec import decode, encode_error
from x121.messaging.handler import Handler, Message
from x121.ws.connection import WsConnection

__all__ = ["MessageEndpoint"]

_LINE = "Message {message_type}: {log_reason}"


class MessageEndpoint:
    """Endpoint for the messages of :mod:`x121.messaging.codec`.

    A handler has ``request_timeout_secs`` for its reply; after that it is cancelled, and the client
    gets an error.  A message has at most ``max_json_values`` JSON values.
    """

    takes_events = True

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        request_timeout_secs: float,
        max_json_values: int,
        clock: IReactorTime,
    ) -> None:
        self._handlers = handlers
        self._max_json_values = max_json_values
        self._request_timeout_secs = request_timeout_secs
        self._deadlines: Deadlines[_Handling] = Deadlines(
            request_timeout_secs, self._expired, clock=clock
        )

    def opened(self, connection: WsConnection) -> None:
        """Send the client its connection's id."""
        connection.send(BuiltIn.welcome.name, {"connection_id": connection.id})

    def received(
        self, connection: WsConnection, payload: bytes, is_binary: bool
    ) -> Coroutine[Any, Any, None] | None:
        """Send a reply or an error for a message: at once, if its handler doesn't wait."""
        fields: dict[str, Any] = {}
        reply: bytes | None
        try:
            fields = self._read(payload, is_binary)
            message_type = fields.get("type")
            handler = self._handlers.get(message_type) if type(message_type) is str else None
            if handler is None:
                raise _unknown(fields)
            data = _call(handler, fields, connection)
            if isinstance(data, Deferred):
                return self._reply_later(data, handler, fields, connection)
            reply = handler.reply(fields.get("id"), data)
        except BaseException:  # SystemExit in a handler gives an error, too, and no exit
            reply = _encode_failure(Failure(), fields, connection)
        _send(reply, connection)
        return None

    def _read(self, payload: bytes, is_binary: bool) -> dict[str, Any]:
        """Return the fields of a message."""
        if is_binary:
            raise BadRequest("Messages are JSON, sent as text")
        return decode(payload, max_values=self._max_json_values)

    async def _reply_later(
        self,
        running: Deferred[Any],
        handler: Handler,
        fields: dict[str, Any],
        connection: WsConnection,
    ) -> None:
        reply: bytes | None
        try:
            data = await _Handling(running, self._deadlines).result
            reply = handler.reply(fields.get("id"), data)
        except GeneratorExit:
            raise
        except BaseException:
            reply = _encode_failure(Failure(), fields, connection)
        _send(reply, connection)

    def _expired(self, handling: _Handling) -> None:
        seconds = self._request_timeout_secs
        handling.give_up(RequestTimeout(f"The message took longer than {seconds:g} s"))


class _Handling:
    """A running handler.  ``result`` fires with its result, or fails at the deadline."""

    def __init__(self, running: Deferred[Any], deadlines: Deadlines[_Handling]) -> None:
        self._deadlines = deadlines
        self._error: Exception | None = None
        self._running = running
        self.result: Deferred[Any] = Deferred(self._cancel)
        deadlines.start(self)
        self._running.addBoth(self._ended)

    def give_up(self, error: Exception) -> None:
        """Cancel the handler and fail with ``error``, even if the handler still returns."""
        self._error = error
        self._running.cancel()
        if not self.result.called:
            self.result.errback(error)

    def _cancel(self, _: object) -> None:
        """Cancel the handler without waiting until it has ended."""
        self._deadlines.stop(self)
        self._running.cancel()

    def _ended(self, value: Any) -> None:
        self._deadlines.stop(self)
        if self._error is not None and isinstance(value, Failure):
            _report_late(value)
        elif self._error is None and not self.result.called:
            self.result.callback(value)


# --- helpers ------------------------------------------------------------------------------


def _unknown(fields: dict[str, Any]) -> BadRequest | NotFound:
    """Return the error for a message that has no handler."""
    if not isinstance(fields.get("type"), str):
        return BadRequest("The message has no type: expected a field type with text")
    return NotFound(f"Unknown message type {_shown(fields)}")


def _call(handler: Handler, fields: dict[str, Any], connection: WsConnection) -> Any:
    """Return the handler's result, or a Deferred of it if the handler waits."""
    data = fields.get("data")
    if handler.data_type is not None:
        data = handler.data_type.read(data)
    result = handler.call(Message(handler.type, fields.get("id"), data, connection))
    if type(result) is CoroutineType:
        return run_eagerly(result)
    is_coroutine = hasattr(result, "__await__") and not isinstance(result, Deferred)
    return run_eagerly(result) if is_coroutine else result


def _encode_failure(
    failure: Failure, fields: dict[str, Any], connection: WsConnection
) -> bytes | None:
    """Return the error for ``failure``; None if the handler was cancelled by a disconnect."""
    if failure.check(CancelledError) and not connection.can_send:
        return None
    assert failure.value is not None
    error = as_app_error(failure.value)
    log_failure(failure, error, _LINE, message_type=_shown(fields))
    return encode_error(fields.get("id"), error)


def _send(reply: bytes | None, connection: WsConnection) -> None:
    if reply is not None:
        connection.send_payload(reply)


def _report_late(failure: Failure) -> None:
    """Log an exception that a handler raised after its deadline, unless it is the cancellation."""
    if not failure.check(CancelledError):
        assert failure.value is not None
        log_failure(failure, as_app_error(failure.value), "After its timeout: {log_reason}")


def _shown(fields: dict[str, Any]) -> str:
    """Return the message's type as the client sent it, cut to 100 characters."""
    return repr(fields.get("type"))[:100]
