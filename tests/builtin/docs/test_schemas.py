"""Schemas of another draft, examples, and schemas in words."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from x121.builtin.docs.draft_07 import named, resolve, to_draft_07
from x121.builtin.docs.examples import make_example
from x121.builtin.docs.fields import Field, Part, fields_of, words_of
from x121.core.types import NO_NUL

LINE = {"$ref": "#/components/schemas/Line"}
SCHEMAS: dict[str, Any] = {
    "Line": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    "Loop": {
        "type": "object",
        "properties": {"next": {"$ref": "#/components/schemas/Loop"}},
        "required": ["next"],
    },
    "Tree": {
        "type": "object",
        "properties": {"parts": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}},
        "required": ["parts"],
    },
}


class DraftTests(SynchronousTestCase):
    def test_tuples(self) -> None:
        """What each item of an array is stands in ``items``, and the rest beside it."""
        schema = {"prefixItems": [{"type": "integer"}], "items": False, "type": "array"}
        self.assertEqual(
            to_draft_07(schema),
            {"items": [{"type": "integer"}], "additionalItems": False, "type": "array"},
        )
        self.assertTrue(to_draft_07({"prefixItems": []})["additionalItems"])

    def test_beside_a_reference(self) -> None:
        """What stands beside a reference is kept in a way that is read."""
        self.assertEqual(to_draft_07(LINE), LINE)
        made = to_draft_07({**LINE, "description": "x"})
        self.assertEqual(made, {"allOf": [LINE], "description": "x"})
        self.assertEqual(named(made), "Line")
        self.assertEqual(resolve(made, SCHEMAS), {**SCHEMAS["Line"], "description": "x"})

    def test_everywhere(self) -> None:
        """It is so wherever schemas stand, and where fields are called as keywords are."""
        inner = {"discriminator": {"propertyName": "kind", "mapping": {}}, "oneOf": [LINE]}
        outer = {"discriminator": "kind", "oneOf": [LINE]}
        for wrap in (
            lambda one: {"properties": {"prefixItems": one, "$ref": one}},
            lambda one: {"items": one},
            lambda one: {"additionalProperties": one},
            lambda one: {"anyOf": [one, True]},
        ):
            self.assertEqual(to_draft_07(wrap(inner)), wrap(outer))
        default: Any = {"default": {"prefixItems": []}}
        self.assertEqual(to_draft_07(default), default)


class ExampleTests(SynchronousTestCase):
    def test_examples(self) -> None:
        """An example is small, and as its schema says."""
        cases: list[tuple[Any, Any]] = [
            ({"const": "x"}, "x"),
            ({"type": "string", "examples": ["a", "b"]}, "a"),
            ({"enum": ["red", "blue"]}, "red"),
            ({"type": "string", "default": "d"}, "d"),
            ({"type": "string"}, "text"),
            ({"type": "string", "minLength": 6}, "texttt"),
            ({"type": "string", "maxLength": 2}, "te"),
            ({"type": "string", "format": "date"}, "2026-01-02"),
            ({"type": "string", "format": "unknown"}, "text"),
            ({"type": "integer"}, 1),
            ({"type": "integer", "minimum": 5}, 5),
            ({"type": "integer", "exclusiveMinimum": 5}, 6),
            ({"type": "integer", "maximum": -5}, -5),
            ({"type": "integer", "multipleOf": 5}, 5),
            ({"type": "integer", "minimum": 7, "multipleOf": 5}, 10),
            ({"type": "boolean"}, True),
            ({"type": "null"}, None),
            ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
            ({"oneOf": [True, {"type": "null"}]}, None),
            ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
            ({"type": "array"}, []),
            ({"type": "array", "items": [{"type": "integer"}, LINE]}, [1, {"n": 1}]),
            ({"type": "object"}, {}),
            ({"type": "object", "additionalProperties": LINE}, {"key": {"n": 1}}),
            ({"type": "object", "properties": {"any": {}, "b": {"type": "null"}}}, {"b": None}),
            ({"$ref": "#/components/schemas/Tree"}, {"parts": []}),
        ]
        for schema, expected in cases:
            self.assertEqual(make_example(schema, SCHEMAS), expected, schema)

    def test_none(self) -> None:
        """Where there is no example, that is said, not tried without an end."""
        for schema in (
            {},
            True,
            {"$ref": "#/components/schemas/Loop"},
            {"anyOf": [{}, False]},
            {"type": "array", "minItems": 1},
            {"type": "object", "properties": {"any": {}}, "required": ["any"]},
        ):
            self.assertRaises(ValueError, make_example, schema, SCHEMAS)


class WordsTests(SynchronousTestCase):
    def test_types(self) -> None:
        """A type is told in words, with the names of others."""
        for schema, expected in (
            (True, "anything"),
            (False, "nothing"),
            ({}, "anything"),
            ({"const": "x"}, '"x"'),
            ({"enum": [1, None]}, "1 or null"),
            ({"type": "string", "format": "uuid"}, "string uuid"),
            ({"anyOf": [LINE, {"type": "null"}]}, "<Line> or null"),
            ({"type": "array", "items": LINE}, "list of <Line>"),
            ({"type": "array", "items": LINE, "uniqueItems": True}, "set of <Line>"),
            ({"type": "array", "items": [{"type": "integer"}, LINE]}, "[integer, <Line>]"),
            ({"type": "object", "additionalProperties": LINE}, "object of <Line>"),
            ({"allOf": [LINE], "description": "x"}, "<Line>"),
        ):  # fmt: skip
            self.assertEqual(_text(words_of(schema)), expected)

    def test_fields(self) -> None:
        """The fields of an object are told, and those of objects in it that have no name."""
        inner = {"type": "object", "properties": {"c": {"type": "integer"}}, "required": ["c"]}
        schema = {
            "type": "object",
            "properties": {
                "a": {"type": "string", "description": "About a."},
                "b": {"type": "array", "items": inner},
                "line": LINE,
                "any": True,
            },
            "required": ["a"],
        }
        rows = [(one.path, _text(one.type), one.is_required) for one in _fields(schema)]
        self.assertEqual(
            rows,
            [
                ("a", "string", True),
                ("b", "list of object", False),
                ("b[].c", "integer", True),
                ("line", "<Line>", False),
                ("any", "anything", False),
            ],
        )
        self.assertEqual(_fields(schema)[0].description, "About a.")
        self.assertEqual([one.path for one in _fields(LINE)], ["n"])
        self.assertEqual(_fields({"type": "integer"}) + _fields(True), [])

    def test_rules(self) -> None:
        """What a value has to be is told in words."""
        for schema, expected in (
            ({"minLength": 1, "maxLength": 200}, "1 to 200 characters"),
            ({"minLength": 3, "maxLength": 3}, "exactly 3 characters"),
            ({"minLength": 1}, "at least 1 character"),
            ({"maxItems": 3}, "at most 3 items"),
            ({"minimum": 0, "maximum": 9}, "0 to 9"),
            ({"exclusiveMinimum": 0, "maximum": 9}, "> 0, \u2264 9"),
            ({"multipleOf": 5}, "a multiple of 5"),
            ({"pattern": "^a$"}, "like `^a$`"),
            ({"pattern": NO_NUL}, "no NUL character"),
            ({"default": "x"}, '"x" if left out'),
            ({"default": None}, ""),
            ({"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]},
             "at most 3 characters"),
            ({"type": "array", "items": {"minimum": 1}}, "each \u2265 1"),
        ):  # fmt: skip
            (field,) = _fields({"properties": {"x": schema}})
            self.assertEqual(", ".join(field.rules), expected)


def _fields(schema: Any) -> list[Field]:
    return list(fields_of(schema, SCHEMAS))


def _text(parts: Any) -> str:
    return "".join(f"<{one.text}>" if one.is_name else one.text for one in _as_parts(parts))


def _as_parts(parts: Any) -> list[Part]:
    return list(parts)
