"""JSON: one result, with orjson and without."""

from __future__ import annotations

import collections
import contextlib
import enum
import json
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from importlib.util import find_spec
from typing import Any, NamedTuple
from unittest import mock
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from x121.core import json_encoding
from x121.core.models import Timestamp

HAVE_ORJSON = find_spec("orjson") is not None


class Colour(enum.Enum):
    """An enumeration as models have them."""

    RED = "red"
    UNDEFINED = math.nan


class Size(enum.IntEnum):
    """One whose members are numbers."""

    SMALL = 1


class Point(NamedTuple):
    """A tuple with names."""

    x: float
    y: float


class Text(str):
    """A kind of text, as libraries have them."""

    __slots__ = ()


@dataclass
class Model:
    """What a handler has to turn into a dict itself."""

    secret: str


class Project(BaseModel):
    """A model whose fields JSON has no types for."""

    name: str
    born: date = Field(alias="bornOn")
    size: Decimal
    takes: timedelta


class Moment(BaseModel):
    """A model with a moment."""

    at: Timestamp


class Measured(BaseModel):
    """A model with numbers, and with anything."""

    values: list[float]
    other: Any


def without_orjson() -> AbstractContextManager[object]:
    """Return what makes Python's own encoder do the work."""
    return mock.patch.object(json_encoding, "orjson", None)


def encode(value: Any) -> bytes:
    """Return the JSON of ``value``, which is the same without orjson."""
    usual = json_encoding.encode(value)
    with without_orjson():
        slow = json_encoding.encode(value)
    if usual != slow:
        # Both are right about a float, such as 1e16 and 1e+16.
        assert any(isinstance(item, float) for item in flat(value)), (usual, slow)
        assert json.loads(usual) == json.loads(slow), (usual, slow)
    return usual


def flat(value: Any) -> Iterator[Any]:
    """Yield every value inside of ``value``."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from flat(item)
    else:
        yield value


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None))
    | st.uuids()
    | st.dates()
    | st.decimals()
    | st.sampled_from([*Colour, *Size])
    | st.datetimes(
        datetime(2, 1, 1),  # noqa: DTZ001  # hypothesis adds the time zone
        datetime(9998, 1, 1),  # noqa: DTZ001
        timezones=st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone),
    ),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text(st.characters(codec=None)) | st.integers(), inner)
    ),
    max_leaves=10,
)


class EncodeTests(SynchronousTestCase):
    """``encode``."""

    def test_orjson_is_there(self) -> None:
        """These tests compare two encoders, so both have to be installed."""
        if not HAVE_ORJSON:
            raise SkipTest("the extra `fast` is not installed")

    def test_compact_utf_8(self) -> None:
        """The text is UTF-8 without spaces or needless escapes, in the order given."""
        value = {"b": [1, 2.5, None], "a": "caf\u00e9 \U0001f600", "c": True}
        expected = '{"b":[1,2.5,null],"a":"caf\u00e9 \U0001f600","c":true}'
        self.assertEqual(encode(value), expected.encode())

    def test_times(self) -> None:
        """A moment is RFC 3339 in UTC with Z, whatever its time zone; a date is its date."""
        moment = datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=timezone(timedelta(hours=2)))
        self.assertEqual(encode(moment), b'"2026-01-02T01:04:05.000600Z"')
        self.assertEqual(encode(datetime(2026, 1, 2, tzinfo=UTC)), b'"2026-01-02T00:00:00Z"')
        self.assertEqual(encode(date(2026, 1, 2)), b'"2026-01-02"')

    def test_text_forms(self) -> None:
        """UUIDs and decimals are text, and enumerations their values."""
        self.assertEqual(encode(UUID(int=1)), b'"00000000-0000-0000-0000-000000000001"')
        self.assertEqual(encode(Decimal("1.10")), b'"1.10"')
        self.assertEqual(encode([Colour.RED, Size.SMALL]), b'["red",1]')

    def test_no_number(self) -> None:
        """NaN and infinity, wherever they stand, are null."""
        value = [math.nan, {"a": -math.inf}, Point(math.inf, 1), Colour.UNDEFINED]
        self.assertEqual(encode(value), b'[null,{"a":null},[null,1],null]')

    def test_large_integers(self) -> None:
        """An integer of any size is written out."""
        self.assertEqual(
            encode([2**64, -(2**63) - 1]), b"[18446744073709551616,-9223372036854775809]"
        )

    def test_keys(self) -> None:
        """Keys that are numbers, booleans or None become text."""
        self.assertEqual(encode({1: 1, None: 2, False: 3}), b'{"1":1,"null":2,"false":3}')

    def test_subclasses(self) -> None:
        """What derives from a type that JSON has is written as that."""
        self.assertEqual(encode([Text("a"), Point(1, 2)]), b'["a",[1,2]]')
        self.assertEqual(encode(collections.OrderedDict(b=1, a=2)), b'{"b":1,"a":2}')

    def test_lone_surrogates(self) -> None:
        """Half a character, which UTF-8 can't write, becomes JSON's escape for it."""
        self.assertEqual(json.loads(encode(["\ud800", "\u00e9"])), ["\ud800", "\u00e9"])

    def test_control_characters(self) -> None:
        """No control character below a space is ever written as it is."""
        text = "".join(map(chr, range(0x20)))
        encoded = encode(text)
        self.assertGreaterEqual(min(encoded), 0x20)
        self.assertEqual(json.loads(encoded), text)

    def test_refused(self) -> None:
        """What JSON has no form for is a TypeError that names the type and shows no value."""
        for value in (b"hunter2", {"hunter2"}, Model("hunter2"), object(), time(1), 1j, Exception):
            for encoder in (contextlib.nullcontext(), without_orjson()):
                with encoder:
                    error = self.assertRaises(TypeError, json_encoding.encode, {"a": [value]})
                self.assertIn(type(value).__name__, str(error))
                self.assertNotIn("hunter2", str(error))

    def test_no_time_zone(self) -> None:
        """A datetime without a time zone names no moment and is refused."""
        error = self.assertRaises(TypeError, json_encoding.encode, datetime(2026, 1, 1))  # noqa: DTZ001
        self.assertIn("has no time zone", str(error))

    def test_cycles(self) -> None:
        """A value that holds itself, or is nested too deeply, is refused with ValueError."""
        cycle: list[Any] = [1.0]
        cycle.append(cycle)
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        for encoder in (contextlib.nullcontext(), without_orjson()):
            with encoder:
                self.assertRaises(ValueError, json_encoding.encode, cycle)
                self.assertRaises(ValueError, json_encoding.encode, deep)
        # Python 3.11 takes a list that deep apart recursively.
        while deep:
            deep = deep.pop()

    @settings(deadline=None)
    @given(values)
    def test_same_result(self, value: Any) -> None:
        """With orjson and without, any value gives the same JSON, on one line."""
        encoded = encode(value)
        json.loads(encoded)
        self.assertNotIn(b"\n", encoded)


class ModelTests(SynchronousTestCase):
    """Models of pydantic's."""

    def test_as_its_schema_says(self) -> None:
        """A model is encoded in JSON's types and by its names outside, wherever it stands."""
        project = Project(
            name="caf\u00e9",
            bornOn=date(2026, 1, 2),
            size=Decimal("1.10"),
            takes=timedelta(hours=1),
        )
        expected = '{"name":"caf\u00e9","bornOn":"2026-01-02","size":"1.10","takes":"PT1H"}'
        self.assertEqual(encode(project), expected.encode())
        self.assertEqual(encode([{"a": project}]), f'[{{"a":{expected}}}]'.encode())

    def test_moments(self) -> None:
        """Their moments are in UTC."""
        moment = datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=timezone(timedelta(hours=2)))
        self.assertEqual(encode(Moment(at=moment)), b'{"at":"2026-01-02T01:04:05.000600Z"}')

    def test_no_number(self) -> None:
        """NaN and infinity in them are null."""
        point = Measured.model_construct(values=[math.nan, 1.0], other=Text("a"))
        self.assertEqual(encode([point, math.inf]), b'[{"values":[null,1.0],"other":"a"},null]')

    def test_refused(self) -> None:
        """What JSON has no form for is a TypeError that shows no value."""
        for value in (Measured, Measured.model_construct(values=[], other=Exception("hunter2"))):
            for encoder in (contextlib.nullcontext(), without_orjson()):
                with encoder:
                    error = self.assertRaises(TypeError, json_encoding.encode, [value])
                self.assertIn("as JSON", str(error))
                self.assertNotIn("hunter2", str(error))

    def test_not_checked(self) -> None:
        """One that was not checked is written as it is, and without a warning."""
        self.assertEqual(encode(Moment.model_construct(at=7)), b'{"at":7}')
