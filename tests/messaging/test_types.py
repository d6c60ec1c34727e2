"""Data that is checked when it comes and encoded when it goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field
from twisted.trial.unittest import SynchronousTestCase

from x121.core.models import Model, Timestamp
from x121.errors import BadRequest, InternalError
from x121.messaging.types import DataType

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Colour(Enum):
    RED = "red"


class Part(Model):
    name: str = Field(max_length=3)


class Order(Model):
    at: Timestamp
    parts: list[Part]
    count: int = Field(gt=0, alias="howMany")


class Loose(BaseModel):
    """A model of somebody else's, which isn't checked again."""

    count: int


ORDER = {"at": "2026-01-02T04:04:05+01:00", "parts": [{"name": "a"}], "howMany": 1}


class ReadTests(SynchronousTestCase):
    def test_model(self) -> None:
        """JSON becomes a model, with what JSON has no type for."""
        order = DataType[Order](Order, "it").read(ORDER)
        self.assertEqual((order.at, order.parts, order.count), (MOMENT, [Part(name="a")], 1))

    def test_types(self) -> None:
        """Any type that pydantic knows is read as JSON has it."""
        text = "00000000-0000-0000-0000-000000000001"
        for kind, data, expected in (
            (list[int], [1, 2], [1, 2]),
            (tuple[int, str], [1, "a"], (1, "a")),
            (UUID, text, UUID(text)),
            (Colour, "red", Colour.RED),
            (int, 2**70, 2**70),
            (float, 1, 1.0),
            (Decimal, "1.10", Decimal("1.10")),
            (str | None, None, None),
            (dict[str, bytes], {"a": "b"}, {"a": b"b"}),
        ):
            self.assertEqual(DataType[Any](kind, "it").read(data), expected)

    def test_strict(self) -> None:
        """JSON's types are not taken for each other."""
        for kind, data in ((int, "1"), (int, 1.0), (int, True), (str, 1), (bool, 1), (bool, "yes"),
                           (float, "1"), (datetime, 1), (list[int], {"0": 1})):  # fmt: skip
            self.assertRaises(BadRequest, DataType[Any](kind, "it").read, data)

    def test_all_wrong_fields(self) -> None:
        """An error has every wrong field, and repeats nothing of what was sent."""
        wrong = {"at": "hunter2", "parts": [{"name": "hunter2"}, 7], "extra": 1}
        error = self.assertRaises(BadRequest, DataType[Order](Order, "it").read, wrong)
        paths = [one["path"] for one in error.details]
        self.assertEqual(paths, ["at", "parts[0].name", "parts[1]", "howMany", "extra"])
        self.assertNotIn("hunter2", json.dumps(error.body()))
        self.assertIsNone(error.__cause__)

    def test_whole(self) -> None:
        """What is wrong as a whole has an empty path."""
        error = self.assertRaises(BadRequest, DataType[Order](Order, "it").read, None)
        self.assertEqual([one["path"] for one in error.details], [""])

    def test_deep(self) -> None:
        """What is nested as deeply as a message may be is read."""
        data: Any = 1
        for _ in range(199):
            data = [data]
        self.assertEqual(DataType[list[Any]](list[Any], "it").read(data), data)

    def test_optional(self) -> None:
        """What may be null may be left out."""
        for kind, expected in ((None, True), (int | None, True), (int, False), (Order, False)):
            self.assertEqual(DataType[Any](kind, "it").is_optional, expected)


class WriteTests(SynchronousTestCase):
    def test_model(self) -> None:
        """A model becomes JSON by its names outside, with times in UTC."""
        kind = DataType[Order](Order, "it")
        written = json.loads(kind.write(kind.read(ORDER)))
        self.assertEqual(written, {**ORDER, "at": "2026-01-02T03:04:05Z"})

    def test_types(self) -> None:
        """Any type that pydantic knows is written as its schema says."""
        for kind, value, expected in (
            (list[Colour], [Colour.RED], b'["red"]'),
            (None, None, b"null"),
            (dict[str, UUID], {"a": UUID(int=1)}, b'{"a":"00000000-0000-0000-0000-000000000001"}'),
            (Literal["pong"], "pong", b'"pong"'),
        ):
            self.assertEqual(DataType[Any](kind, "it").write(value), expected)

    def test_invalid(self) -> None:
        """What isn't of its type is our fault; the reason names the fields, and no values."""
        changed = Order.model_construct(at=MOMENT, parts=["hunter2"], count=0)
        error = self.assertRaises(InternalError, DataType[Order](Order, "Such").write, changed)
        self.assertTrue(error.message.startswith("Such is not valid: "), error.message)
        self.assertIn("parts[0]: ", error.message)
        self.assertIn("count: ", error.message)
        for kind, value in ((int, "x"), (None, 1), (Literal["pong"], "hunter2"), (str, None)):
            error = self.assertRaises(InternalError, DataType[Any](kind, "it").write, value)
            self.assertNotIn("hunter2", error.message)

    def test_changed(self) -> None:
        """A model that isn't checked again is found out when it is encoded."""
        loose = Loose.model_construct(count="hunter2")
        error = self.assertRaises(InternalError, DataType[Loose](Loose, "Such").write, loose)
        self.assertNotIn("hunter2", error.message)

    def test_no_unicode(self) -> None:
        """Half a character, which has no form in UTF-8, is our fault, too."""
        self.assertRaises(InternalError, DataType[str](str, "it").write, "\ud800")


class KindTests(SynchronousTestCase):
    def test_unknown(self) -> None:
        """A type that can't be checked, or that JSON lacks, is refused, and named."""

        class Unfinished(Model):
            later: Later  # type: ignore[name-defined]  # noqa: F821

        for kind in (SynchronousTestCase, list[object()], Unfinished, Callable[[], int]):  # type: ignore[misc]
            error = self.assertRaises(TypeError, DataType, kind, "The data of a message to say")
            self.assertIn("The data of a message to say can't be checked as", str(error))
