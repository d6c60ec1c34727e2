"""Fields as ``NAME:TYPE`` declares them."""

from __future__ import annotations

import pytest

from x121.commands.fields import parse_fields
from x121.commands.names import GenerationError, Names


def test_types() -> None:
    """Each type has its column and its annotation."""
    declared = "a:text b:int c:float d:bool e:date f:time g:uuid h:json".split()  # noqa: SIM905
    assert [(field.kind.sql, field.annotation) for field in parse_fields(declared)] == [
        ("TEXT", "Text"),
        ("BIGINT", "int"),
        ("DOUBLE PRECISION", "float"),
        ("BOOLEAN", "bool"),
        ("DATE", "datetime.date"),
        ("TIMESTAMPTZ", "Timestamp"),
        ("UUID", "UUID"),
        ("JSONB", "dict[str, JsonValue]"),
    ]


def test_optional() -> None:
    """A ``?`` makes a field optional."""
    (due,) = parse_fields(["due:date?"])
    assert (due.is_optional, due.annotation, due.taken) == (
        True,
        "datetime.date | None",
        "datetime.date | None",
    )


def test_ref() -> None:
    """A ref is the id of what it is called after."""
    (board,) = parse_fields(["board:ref"])
    assert (board.name, board.parent, board.annotation) == ("board_id", "board", "Id")


def test_choices() -> None:
    """Choices are a Literal, and a condition of the column."""
    (state,) = parse_fields(["state:open|done"])
    assert state.kind.bounded == 'Literal["open", "done"]'
    assert state.kind.check == "state IN ('open', 'done')"
    assert (state.annotation, state.taken) == ("_State", "_State")


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("title", "expected NAME:TYPE, such as title:text"),
        (
            "title:string",
            "expected as TYPE one of text, int, float, bool, date, time, uuid, json, ref, or",
        ),
        ("title:", "expected as TYPE one of text"),
        ("Title:text", "expected lower-case letters"),
        ("a__b:text", "expected lower-case letters"),
        ("class:text", "this is a reserved word in Python"),
        ("order:int", "this is a reserved word in SQL; choose another one, such as my_order"),
        ("id:int", "every feature has this field already"),
        ("updated_at:time", "every feature has this field already"),
        ("json:json", "models use this name themselves"),
        ("model_name:text", "models use this name themselves"),
        ("state:open|", "expected different choices"),
        ("state:open|open", "expected different choices"),
        ("state:it's|done", "expected different choices"),
        ("a" * 30 + ":text", "29 characters at most"),
    ],
)
def test_wrong(declared: str, message: str) -> None:
    """What can't be a field is told, with what would be right."""
    with pytest.raises(GenerationError) as caught:
        parse_fields([declared])
    assert message in str(caught.value)


def test_twice() -> None:
    """Two fields have two names."""
    with pytest.raises(GenerationError, match="board_id: several fields have this name"):
        parse_fields(["board:ref", "board_id:int"])


def test_names() -> None:
    """Names have their forms."""
    names = Names.of("order_line")
    assert (names.many, names.One, names.Many) == ("order_lines", "OrderLine", "OrderLines")
    assert (names.spoken_many, names.a_one) == ("order lines", "an order line")
    assert Names.of("person", "people").Many == "People"


@pytest.mark.parametrize(
    ("one", "many", "message"),
    [
        ("Note", "", "expected lower-case letters"),
        ("note-s", "", "expected lower-case letters"),
        ("../note", "", "expected lower-case letters"),
        ("", "", "expected lower-case letters"),
        ("sheep", "sheep", "expected a word other than the name"),
        ("page", "", "choose another one, such as my_page"),
        ("event", "", "choose another one, such as my_event"),
        ("analysis", "user", "this is a reserved word in SQL"),
        ("a" * 30, "bs", "29 characters at most"),
    ],
)
def test_wrong_names(one: str, many: str, message: str) -> None:
    """What can't be a class, a table and a path is no name."""
    with pytest.raises(GenerationError) as caught:
        Names.of(one, many)
    assert message in str(caught.value)
