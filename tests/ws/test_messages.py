"""The wire format of ``/ws``, and the tables of handlers."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from x121.errors import BadRequest, FieldError, InternalError
from x121.ws.messages import (
    Handlers,
    Message,
    decode,
    encode_error,
    encode_event,
    encode_reply,
)

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


class WireTests(SynchronousTestCase):
    @given(_JSON)
    def test_ids_and_data_come_back(self, value: Any) -> None:
        """Whatever JSON an id or data is, it is the same in the reply."""
        sent = json.dumps({"type": "x", "id": value, "data": value}).encode()
        fields = decode(sent)
        reply = json.loads(encode_reply(fields["id"], fields["data"]))
        self.assertEqual(reply, {"type": "reply", "id": value, "data": value})

    @given(st.binary())
    def test_any_bytes(self, payload: bytes) -> None:
        """Bytes are an object, or a BadRequest; nothing else happens."""
        with contextlib.suppress(BadRequest):
            self.assertIsInstance(decode(payload), dict)

    def test_refused(self) -> None:
        """What is no JSON object is refused with the reason, in a few words."""
        cases = {
            b"": "not JSON",
            b"{": "not JSON",
            b"[]": "not a JSON object",
            b'"text"': "not a JSON object",
            b'{"data": NaN}': "NaN is not a value",
            b'{"data": -Infinity}': "-Infinity is not a value",
            b'{"data": ' + b"9" * 5000 + b"}": "not JSON",
            b"[" * 100_000: "nested too deeply",
        }
        for payload, reason in cases.items():
            with self.subTest(payload[:20]):
                error = self.assertRaises(BadRequest, decode, payload)
                self.assertIn(reason, error.message)
                self.assertLess(len(error.message), 300)

    def test_events(self) -> None:
        """An event has a type and data."""
        self.assertEqual(
            json.loads(encode_event("chat.said", [1])), {"type": "chat.said", "data": [1]}
        )

    def test_errors(self) -> None:
        """An error has what an HTTP error has, and hides what that hides."""
        wrong = BadRequest("No", details=[FieldError(path="data.x", message="a number")])
        self.assertEqual(
            json.loads(encode_error(7, wrong)),
            {
                "type": "error",
                "id": 7,
                "error": "No",
                "code": "BAD_REQUEST",
                "details": [{"path": "data.x", "message": "a number"}],
            },
        )
        self.assertNotIn(b"secret", encode_error(None, InternalError("secret")))


class Chat:
    messages = Handlers()

    def __init__(self, name: str) -> None:
        self.name = name

    @messages.on("chat.who")
    def who(self, message: Message) -> str:
        return self.name


class HandlersTests(SynchronousTestCase):
    def test_methods(self) -> None:
        """Of an instance, they are its methods."""
        message: Any = None
        for name in ("one", "two"):
            ((message_type, handler),) = Chat(name).messages
            self.assertEqual((message_type, handler(message)), ("chat.who", name))

    def test_functions(self) -> None:
        """They may be plain functions, too."""
        handlers = Handlers()

        @handlers.on("x")
        def answer(message: Message) -> int:
            return 1

        message: Any = None
        self.assertEqual([handler(message) for _, handler in handlers], [1])

    def test_twice(self) -> None:
        """A type has one handler."""
        handlers = Handlers()
        handlers.on("x")(print)
        self.assertRaises(ValueError, handlers.on, "x")
