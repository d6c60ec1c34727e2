"""The wire format of ``/ws``."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from x121.errors import BadRequest, FieldError, InternalError
from x121.ws import wire
from x121.ws.wire import decode, encode_error, encode_event, encode_reply

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


def nested(levels: int) -> bytes:
    """Return a message of so many levels, itself one of them."""
    return b'{"id":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


# What JSON is made of, and what only looks like it.
_PARTS = st.sampled_from(
    [*'{}[],:"\\ \n\x0b\x00\x7f\ufeff\u2028é']
    + ["true", "null", "NaN", "Infinity", '"a"', '"a":', "\\ud83d", "\\ude00", "\\u0061", "\\x"]
    + ["-0", "-0.0", "01", "1.", ".5", "1e308", "1e309", "1E-400", "5e-324", "+1", "0x1", "1_0"]
    + [str(sign * (1 << bits) + one) for sign in (1, -1) for bits in (63, 64) for one in (-1, 0, 1)]
)
_NUMBERS = st.from_regex(r"-?[0-9]{1,25}(\.[0-9]{0,25})?([eE][+-]?[0-9]{0,4})?", fullmatch=True)
_TEXTS = st.one_of(
    st.lists(_PARTS | _NUMBERS, max_size=8).map("".join),
    st.builds(json.dumps, _JSON, ensure_ascii=st.booleans(), indent=st.none() | st.just(1)),
)


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """Return JSON, or almost."""
    text = draw(_TEXTS)
    cut = draw(st.integers(0, len(text)))
    text = text[:cut] + draw(st.just("") | _PARTS) + text[cut + draw(st.integers(0, 1)) :]
    return (draw(st.sampled_from(["%s", '{"x":%s}', '{"x":%s,"x":1}'])) % text).encode()


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

    def outcome(self, payload: bytes) -> str:
        """Return what becomes of ``payload``: in a form in which ``1`` is not ``1.0``."""
        try:
            return repr(decode(payload))
        except BadRequest as error:
            return error.message

    @settings(max_examples=500, deadline=None)
    @given(payloads() | st.binary(max_size=20))
    def test_without_orjson(self, payload: bytes) -> None:
        """With orjson and without, the same is taken, refused, and said of it."""
        found = self.outcome(payload)
        with mock.patch.object(wire, "orjson", None):
            self.assertEqual(found, self.outcome(payload))

    def test_large_numbers(self) -> None:
        """Integers come back as they are, however large, and are never made floats."""
        for number in (1 << 63, (1 << 64) - 1, 1 << 64, -(1 << 63) - 1, 10**300):
            self.assertEqual(repr(decode(b'{"id":%d}' % number)["id"]), str(number))

    def test_refused(self) -> None:
        """What is no JSON object is refused with the reason, in a few words."""
        cases = {
            b"": "not JSON",
            b"{": "not JSON",
            b"[]": "not a JSON object",
            b'"text"': "not a JSON object",
            b'{"data": NaN}': "NaN is not a value",
            b'{"data": -Infinity}': "-Infinity is not a value",
            b'{"data": ' + b"9" * 5000 + b"}": "too many digits",
            b'{"id": "\\ud800"}': "text that is not Unicode",
            b'{"data": {"\\udfff": 1}}': "text that is not Unicode",
            b'{"id": 1e400}': "too large: 1e400",
            b'{"id": [-1e999]}': "too large: -1e999",
            b"[" * 100_000: "nested deeper than 200",
            nested(201): "nested deeper than 200",
            nested(900): "nested deeper than 200",
        }
        for payload, reason in cases.items():
            with self.subTest(payload[:20]):
                error = self.assertRaises(BadRequest, decode, payload)
                self.assertIn(reason, error.message)
                self.assertLess(len(error.message), 300)

    def test_pairs(self) -> None:
        """A surrogate pair is a character."""
        self.assertEqual(decode(b'{"id": "\\ud83d\\ude00"}')["id"], "\U0001f600")

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

    def test_fault_is_shown(self) -> None:
        """The reason says where the fault is."""
        error = self.assertRaises(BadRequest, decode, b'{"type": }')
        self.assertEqual(
            error.message, "The message is not JSON: Expecting value: line 1 column 10 (char 9)"
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
