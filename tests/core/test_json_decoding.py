"""JSON from clients: what is taken, what is refused and why, and at what cost."""

from __future__ import annotations

import contextlib
import gc
import json
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from x121.core import json_decoding, json_encoding
from x121.errors import BadRequest, PayloadTooLarge

MAX_VALUES = 10_000


def decode(payload: bytes) -> Any:
    return json_decoding.decode(payload, "The body", max_values=MAX_VALUES)


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


class DecodeTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(_JSON)
    def test_same_value(self, value: Any) -> None:
        """Whatever JSON a client sends, it is read as what it is."""
        self.assertEqual(decode(json.dumps(value).encode()), value)

    @settings(deadline=None)
    @given(st.binary())
    def test_any_bytes(self, payload: bytes) -> None:
        """Bytes are JSON, or a BadRequest; nothing else happens."""
        with contextlib.suppress(BadRequest):
            decode(payload)

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
        with mock.patch.object(json_decoding, "orjson", None):
            self.assertEqual(found, self.outcome(payload))

    def test_large_numbers(self) -> None:
        """Integers are what they are, however large, and are never made floats."""
        for number in (1 << 63, (1 << 64) - 1, 1 << 64, -(1 << 63) - 1, 10**300):
            self.assertEqual(repr(decode(b'{"id":%d}' % number)["id"]), str(number))

    def test_refused(self) -> None:
        """What is no JSON is refused with the reason, in a few words."""
        cases = {
            b"": "not JSON",
            b"{": "not JSON",
            b'{"data": NaN}': "NaN is not a JSON value",
            b'{"data": -Infinity}': "-Infinity is not a JSON value",
            b'{"data": ' + b"9" * 401 + b"}": "more than 400 digits",
            b'{"data": 0.' + b"9" * 400 + b"}": "more than 400 digits",
            b'{"id": "\\ud800"}': "text that is not Unicode",
            b'{"data": {"\\udfff": 1}}': "text that is not Unicode",
            b'{"id": 1e400}': "too large: 1e400",
            b'{"id": [-1e999]}': "too large: -1e999",
            b"[" * 9_000: "nested deeper than 200",
            nested(201): "nested deeper than 200",
            nested(900): "nested deeper than 200",
        }
        for payload, reason in cases.items():
            with self.subTest(payload[:20]):
                error = self.assertRaises(BadRequest, decode, payload)
                self.assertTrue(error.message.startswith("The body "))
                self.assertIn(reason, error.message)
                self.assertLess(len(error.message), 300)

    def test_pairs(self) -> None:
        """A surrogate pair is a character."""
        self.assertEqual(decode(b'"\\ud83d\\ude00"'), "\U0001f600")

    def test_deep(self) -> None:
        """Whatever is taken can be sent on, and however wide it is."""
        for payload in (nested(200), b'{"id":[' + b"[]," * 4900 + b"{}]}"):
            value = decode(payload)
            self.assertEqual(json.loads(json_encoding.encode(value)), value)

    def test_fault_is_shown(self) -> None:
        """The reason says where the fault is."""
        error = self.assertRaises(BadRequest, decode, b'{"type": }')
        self.assertEqual(
            error.message, "The body is not JSON: Expecting value: line 1 column 10 (char 9)"
        )


class LimitTests(SynchronousTestCase):
    def test_values(self) -> None:
        """Lists, objects and what is in them count, and names don't."""
        for payload, count in (
            (b"1", 1), (b"[1, 2, 3]", 4), (b'{"a": {"b": 1}, "c": [true, null]}', 6),
        ):  # fmt: skip
            json_decoding.decode(payload, "It", max_values=count)
            with self.assertRaises(PayloadTooLarge) as caught:
                json_decoding.decode(payload, "It", max_values=count - 1)
            self.assertEqual(
                caught.exception.message, f"It has more than {count - 1} values (MAX_JSON_VALUES)"
            )

    def test_text(self) -> None:
        """Commas, brackets, quotes and backslashes in text are no values."""
        for text in (",[{" * 100, '"' * 100, "\\" * 101, '\\",' * 100, '",' * 100):
            payload = json.dumps({text: [text]}).encode()
            self.assertEqual(json_decoding.decode(payload, "It", max_values=3), {text: [text]})

    @settings(deadline=None)
    @given(_JSON)
    def test_count(self, value: Any) -> None:
        """JSON is taken with a limit of just as many values as it has, and not with less."""
        payload, count = json.dumps(value).encode(), _count(value)
        self.assertEqual(json_decoding.decode(payload, "It", max_values=count), value)
        if count > 1:
            with self.assertRaises(PayloadTooLarge):
                json_decoding.decode(payload, "It", max_values=count - 1)


def _count(value: Any) -> int:
    """Return how many values there are, of which an empty list or object counts as two."""
    if not isinstance(value, (list, dict)):
        return 1
    inner = value.values() if isinstance(value, dict) else value
    return 1 + (sum(map(_count, inner)) or 1)


# --- what it costs ------------------------------------------------------------------------

SIZE = 100_000


def benign() -> bytes:
    """Return JSON as clients send it."""
    one = {"id": 1, "name": "n" * 40, "at": "2026-01-02T03:04:05Z", "tags": ["a", "b"]}
    return json.dumps([one] * (SIZE // len(json.dumps(one)))).encode()


def filled(unit: bytes, before: bytes = b"[", after: bytes = b"0]", most: int = SIZE) -> bytes:
    """Return as many of ``unit`` as there is room for, or ``most``."""
    return before + unit * min(most, (SIZE - len(before) - len(after)) // len(unit)) + after


def hostile() -> Iterator[tuple[str, bytes]]:
    """Yield what is made up to take a long time, of the size of the benign."""
    limit = MAX_VALUES - 10
    yield "open lists", b"[" * SIZE
    yield "nested lists", filled(b"[" * 190 + b"]" * 190 + b",")
    yield "nested lists, few", filled(b"[" * 190 + b"]" * 190 + b",", most=limit // 191)
    yield "text of brackets", filled(b"[", b'"', b'"')
    yield "texts of brackets", filled(b'"[[[[[[[[[[",')
    yield "text of quotes", filled(b'\\"', b'"', b'"')
    yield "text of quotes and commas", filled(b'\\"', b'"' + b"," * limit, b'"')
    yield "text of backslashes and commas", filled(b"\\\\", b'"' + b"," * limit, b'"')
    for unit in (b"{},", b"[],", b"0,", b'"",', b"1e300,", b"1.2345678901234567890123,"):
        yield f"many {unit.decode()}", filled(unit)
        yield f"fewer {unit.decode()}", filled(unit, most=limit // 2)
    yield "one integer", b"9" * SIZE
    yield "one fraction", b"0." + b"9" * SIZE
    yield "one exponent", b"1e" + b"9" * SIZE
    yield "long integers", filled(b"9" * 4000 + b",")
    yield "integers of 400 digits", filled(b"9" * 400 + b",")
    yield "same name", filled(b'"a":0,', b"{", b'"b":0}', most=limit)
    names = b",".join(b'"%x":0' % number for number in range(limit))
    yield "names", b"{" + names + b"}"
    yield "escapes", filled(b"\\u0041", b'"', b'"')
    yield "surrogates", filled(b"\\ud83d\\ude00", b'"', b'"')
    yield "half a surrogate at the end", filled(b"{},", after=b'"\\ud800"]', most=limit // 2)
    yield "no UTF-8 at the end", filled(b"x", b'"', b'\xff"')
    yield "NaN at the end", filled(b"{},", after=b"NaN]", most=limit // 2)
    yield "1e999 at the end", filled(b"{},", after=b"1e999]", most=limit // 2)
    yield "no end", filled(b"{},", after=b"", most=limit // 2)


def cost(payload: bytes) -> float:
    """Return how many seconds of CPU time it takes to decode ``payload``, or to refuse it."""
    taken = []
    for _ in range(5):
        begun = time.process_time()
        with contextlib.suppress(BadRequest, PayloadTooLarge):
            decode(payload)
        taken.append(time.process_time() - begun)
    return min(taken)


class CostTests(SynchronousTestCase):
    def assertBounded(self) -> None:
        gc.disable()
        self.addCleanup(gc.enable)
        usual = cost(benign())
        for name, payload in hostile():
            for whole in (payload, b'{"x":%b}' % payload):
                with self.subTest(name):
                    self.assertLess(cost(whole) / usual, 12)

    def test_hostile(self) -> None:
        """Nothing takes many times as long as what clients usually send."""
        self.assertBounded()

    def test_hostile_without_orjson(self) -> None:
        """Neither where orjson isn't installed."""
        with mock.patch.object(json_decoding, "orjson", None):
            self.assertBounded()
