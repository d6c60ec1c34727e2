"""Names in generated code: which are possible, and their forms."""

from __future__ import annotations

import builtins
import keyword
import re
from dataclasses import dataclass

from x121.commands.sql_words import RESERVED_WORDS

__all__ = [
    "ROUTE_NAMES",
    "GenerationError",
    "Names",
    "check_identifier",
    "check_not_reserved",
    "class_name",
]

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_MAX_LENGTH = 29  # PostgreSQL cuts names off after 63 bytes, and constraints join two

ROUTE_NAMES = (
    "ANY_VERSION AppState Conflict Cursor DbId Feature Id IfMatch Limit Page"
    " PreconditionFailed Request Response Router make_page"
)
"""The names that the routes of a feature import from x121."""

# What else generated code imports, so that no class is called so, and its variables.
_IMPORTED = (
    "Annotated Any App Event Field Handlers JsonValue Literal Model Queryable Text Timestamp UUID"
)
_VARIABLES = (
    "after app changes create created delete deleted events fields find index lock messages models"
    " new page path publish queries query request router rows state topic transaction update"
    " updated values"
)


class GenerationError(Exception):
    """Files can't be generated; the text says why, and what would be right."""


def check_identifier(name: str, what: str) -> None:
    """Raise :class:`GenerationError` unless ``name`` can be a name in Python."""
    if not _NAME.fullmatch(name) or len(name) > _MAX_LENGTH:
        raise GenerationError(
            f"invalid {what} {name!r}: expected lower-case letters and digits, words joined by _,"
            f" {_MAX_LENGTH} characters at most, such as order_line"
        )
    if keyword.iskeyword(name):
        raise GenerationError(f"invalid {what} {name!r}: Python reserves this word")


def check_not_reserved(name: str, what: str) -> None:
    """Raise :class:`GenerationError` if ``name`` can't be a name in SQL."""
    if name in RESERVED_WORDS:
        raise GenerationError(
            f"invalid {what} {name!r}: SQL reserves this word; choose another one, such as"
            f" my_{name}"
        )


def class_name(name: str) -> str:
    """Return the name of a class of things called ``name``."""
    return "".join(word.capitalize() for word in name.split("_"))


@dataclass(frozen=True)
class Names:
    """The names of a feature's things: ``one`` and ``many`` of them."""

    one: str
    many: str

    @classmethod
    def of(cls, one: str, many: str = "") -> Names:
        """Return the names of things called ``one``; ``many`` is ``one`` + "s" if it is empty.

        Raises :class:`GenerationError` for names that generated code can't have.
        """
        names = cls(one, many or f"{one}s")
        check_identifier(names.one, "name")
        check_identifier(names.many, "plural")
        check_not_reserved(names.many, "plural")
        if names.one == names.many:
            raise GenerationError(f"invalid plural {many!r}: expected another word than the name")
        used = {*ROUTE_NAMES.split(), *_IMPORTED.split(), *_VARIABLES.split(), *dir(builtins)}
        if {one, names.One, names.Many} & used:
            raise GenerationError(
                f"invalid name {one!r}: the generated code needs this word itself; choose another"
                f" one, such as my_{one}"
            )
        return names

    @property
    def One(self) -> str:
        """The class of one of them."""
        return class_name(self.one)

    @property
    def Many(self) -> str:
        """The class of the feature."""
        return class_name(self.many)

    @property
    def spoken_one(self) -> str:
        """One of them, as it stands in a sentence."""
        return self.one.replace("_", " ")

    @property
    def spoken_many(self) -> str:
        """Many of them, as they stand in a sentence."""
        return self.many.replace("_", " ")

    @property
    def a_one(self) -> str:
        """One of them with its article."""
        return f"{'an' if self.one[0] in 'aeio' else 'a'} {self.spoken_one}"
