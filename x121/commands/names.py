"""Names in generated code: which are allowed, and their forms."""

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
_MAX_LENGTH = 29  # PostgreSQL truncates names after 63 bytes, and the names of constraints join two

ROUTE_NAMES = (
    "ANY_VERSION AppState Conflict Cursor DbId Feature Id IfMatch Limit Page"
    " PreconditionFailed Request Response Router make_page"
)
"""Names that the routes of a feature import from x121."""

# Other names that generated code imports or uses for variables: classes can't have them.
_IMPORTED = (
    "Annotated Any App Event Field Handlers JsonValue Literal Model Queryable Text Timestamp UUID"
)
_VARIABLES = (
    "after app changes create created delete deleted events fields find index lock messages models"
    " new page path publish queries query request router rows state topic transaction update"
    " updated values"
)


class GenerationError(Exception):
    """Raised when files can't be generated; the text gives the reason and what would be right."""


def check_identifier(name: str, what: str) -> None:
    """Raise :class:`GenerationError` unless ``name`` is a possible name in Python."""
    if not _NAME.fullmatch(name) or len(name) > _MAX_LENGTH:
        raise GenerationError(
            f"invalid {what} {name!r}: expected lower-case letters and digits, words joined by _,"
            f" {_MAX_LENGTH} characters at most, such as order_line"
        )
    if keyword.iskeyword(name):
        raise GenerationError(f"invalid {what} {name!r}: this is a reserved word in Python")


def check_not_reserved(name: str, what: str) -> None:
    """Raise :class:`GenerationError` if ``name`` is a reserved word in SQL."""
    if name in RESERVED_WORDS:
        raise GenerationError(
            f"invalid {what} {name!r}: this is a reserved word in SQL; choose another one, such as"
            f" my_{name}"
        )


def class_name(name: str) -> str:
    """Return the class name of things called ``name``."""
    return "".join(word.capitalize() for word in name.split("_"))


@dataclass(frozen=True)
class Names:
    """Names of a feature's things: singular ``one`` and plural ``many``."""

    one: str
    many: str

    @classmethod
    def of(cls, one: str, many: str = "") -> Names:
        """Return the names of things called ``one``; an empty ``many`` means ``one`` + "s".

        Raises :class:`GenerationError` for names that generated code can't have.
        """
        names = cls(one, many or f"{one}s")
        check_identifier(names.one, "name")
        check_identifier(names.many, "plural")
        check_not_reserved(names.many, "plural")
        if names.one == names.many:
            raise GenerationError(f"invalid plural {many!r}: expected a word other than the name")
        used = {*ROUTE_NAMES.split(), *_IMPORTED.split(), *_VARIABLES.split(), *dir(builtins)}
        if {one, names.One, names.Many} & used:
            raise GenerationError(
                f"invalid name {one!r}: the generated code uses this name itself; choose another"
                f" one, such as my_{one}"
            )
        return names

    @property
    def One(self) -> str:
        """Class of one thing."""
        return class_name(self.one)

    @property
    def Many(self) -> str:
        """Class of the feature."""
        return class_name(self.many)

    @property
    def spoken_one(self) -> str:
        """Singular, as used in a sentence."""
        return self.one.replace("_", " ")

    @property
    def spoken_many(self) -> str:
        """Plural, as used in a sentence."""
        return self.many.replace("_", " ")

    @property
    def a_one(self) -> str:
        """Singular with its article."""
        return f"{'an' if self.one[0] in 'aeio' else 'a'} {self.spoken_one}"
