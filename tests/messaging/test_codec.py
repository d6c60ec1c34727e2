"""The wire format of ``/ws``."""

from __future__ import annotations

import contextlib
import json
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from x121.core.event_encoding import encode_event
from x121.errors import BadRequest, FieldError, InternalError, PayloadTooLarge
from x121.messaging import codec
from x121.messaging.codec import encode_error, encode_reply

decode = partial(codec.decode, max_values=20_000)

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


def nested(levels: int) -> bytes:
    """Return a message of so many levels, itself one of them."""
    return b'{"id":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


class WireTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(_JSON)
    def test_ids_and_data_come_back(self, value: Any) -> None:
        """Whatever JSON an id or data is, it is the same in the reply."""
        sent = json.dumps({"type": "x", "id": value, "data": value}).encode()
        fields = decode(sent)
        reply = json.loads(encode_reply(fields["id"], fields["data"]))
        self.assertEqual(reply, {"type": "reply", "id": value, "data": value})

    @settings(deadline=None)
    @given(st.binary())
    def test_any_bytes(self, payload: bytes) -> None:
        """Bytes are an object, or a BadRequest; nothing else happens."""
        with contextlib.suppress(BadRequest):
            self.assertIsInstance(decode(payload), dict)

    def test_refused(self) -> None:
        """What is no JSON object is refused with the reason."""
        cases = {
            b"{": "The message is not JSON: ",
            b"[]": "The message is not a JSON object",
            b'"text"': "The message is not a JSON object",
            b'{"data": NaN}': "NaN is not a JSON value",
            nested(201): "The message is nested deeper than 200 levels",
        }
        for payload, reason in cases.items():
            with self.subTest(payload[:20]):
                error = self.assertRaises(BadRequest, decode, payload)
                self.assertIn(reason, error.message)
                self.assertLess(len(error.message), 300)

    def test_values(self) -> None:
        """A message has a limited number of values."""
        with self.assertRaises(PayloadTooLarge) as caught:
            codec.decode(b'{"data": [1, 2, 3]}', max_values=4)
        self.assertIn("The message has more than 4 values", caught.exception.message)

    def test_brackets_in_text(self) -> None:
        """Brackets in text are no levels."""
        text = "[" * 300 + "{" * 300
        self.assertEqual(decode(json.dumps({"id": text}).encode())["id"], text)

    def test_unfit_names(self) -> None:
        """An event can't have a name that a client takes for an answer."""
        name: Any
        for name in ("reply", "error", 5, None):
            self.assertRaises(ValueError, encode_event, name, None)

    def test_deep(self) -> None:
        """Whatever is taken can be sent back, also as the id of an error, and however wide."""
        for payload in (nested(200), b'{"id":[' + b"[]," * 5000 + b"{}]}"):
            fields = decode(payload)
            self.assertEqual(
                json.loads(encode_error(fields["id"], BadRequest("")))["id"], fields["id"]
            )

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
