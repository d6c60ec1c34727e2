"""``x121 new-feature``: a feature in the pattern of another one, in whose files names are replaced.

The pattern is a feature that works and is tested, so the new one does and is, and there is no
template beside it that could grow old.
"""

from __future__ import annotations

import io
import keyword
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Names", "ScaffoldError", "new_feature"]

ROUTES = "x121/api/routes.py"
_FILES = ("x121/models/{}.py", "x121/repositories/{}.py", "x121/api/{}.py", "tests/web/test_{}.py")
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_MAX_NAME = 40  # PostgreSQL cuts names off after 63 bytes, and constraints have longer ones


class ScaffoldError(Exception):
    """The feature can't be written; the text says why, and what would be right."""


@dataclass(frozen=True)
class Names:
    """What the things of a feature are called: ``many``, and ``one`` of them."""

    many: str
    one: str

    @classmethod
    def of(cls, many: str, one: str | None = None, *, option: str = "--one") -> Names:
        """Return the names of the feature ``many``.

        Raises :class:`ScaffoldError`; ``option`` is what says ``one``.
        """
        if one is None and not many.endswith("s"):
            raise ScaffoldError(f"what is one of the {many} called? Say it with {option}")
        names = cls(many, many.removesuffix("s") if one is None else one)
        for name in (names.many, names.one):
            usable = _NAME.fullmatch(name) and len(name) <= _MAX_NAME
            if not usable or keyword.iskeyword(name):
                raise ScaffoldError(
                    f"{name!r} is no name for a feature: lower case letters and digits, words"
                    f" joined by _, {_MAX_NAME} characters at most, such as order_lines"
                )
        if names.many == names.one:
            raise ScaffoldError(f"one of the {many} needs another name than all of them")
        return names

    @property
    def forms(self) -> list[str]:
        """The names as they stand in code: of many, of one, of their classes."""
        return [self.many, _class(self.many), self.one, _class(self.one)]


def new_feature(root: Path, names: Names, pattern: Names) -> list[str]:
    """Write the files of a feature, and its lines in the routes; return the files' paths.

    ``root`` is the checkout.  Nothing is written unless all of it can be: raises
    :class:`ScaffoldError` where a file of the pattern is missing, or one of the feature is there.
    Blocks while it reads and writes.
    """
    rename = _Renaming(pattern, names)
    files = {
        template.format(names.many): rename(_read(root, template.format(pattern.many)))
        for template in _FILES
    }
    migration = _migration_of(root, pattern)
    files[_next_migration(root, names)] = rename(migration.read_text("utf-8"))
    there = [path for path in files if (root / path).exists()]
    if there:
        raise ScaffoldError(f"{', '.join(there)}: already there")
    routes = _with_lines(_read(root, ROUTES), pattern, rename)
    for path, text in files.items():
        with (root / path).open("x", encoding="utf-8") as file:
            file.write(text)
    (root / ROUTES).write_text(routes, "utf-8")
    return [*files, ROUTES]


# --- the files ----------------------------------------------------------------------------


def _read(root: Path, path: str) -> str:
    try:
        return (root / path).read_text("utf-8")
    except FileNotFoundError:
        raise ScaffoldError(
            f"{path} is missing: this is for the top of a checkout, and a pattern (--like) whose"
            " files are all there"
        ) from None


def _migration_of(root: Path, pattern: Names) -> Path:
    found = sorted(root.glob(f"migrations/*_create_{pattern.many}.sql"))
    if not found:
        raise ScaffoldError(f"migrations/NNNN_create_{pattern.many}.sql is missing")
    return found[0]


def _next_migration(root: Path, names: Names) -> str:
    if any(root.glob(f"migrations/*_create_{names.many}.sql")):
        raise ScaffoldError(f"there is a migration that creates {names.many} already")
    numbers = [path.name.partition("_")[0] for path in root.glob("migrations/*_*.sql")]
    last = max(int(number) for number in numbers if number.isdecimal())
    return f"migrations/{last + 1:04d}_create_{names.many}.sql"


def _with_lines(routes: str, pattern: Names, rename: _Renaming) -> str:
    """Return the routes with the lines of the pattern, renamed, behind their own."""
    lines = []
    mentioned = re.compile(rf"\b{_class(pattern.many)}\b")
    for line in routes.splitlines(keepends=True):
        lines.append(line)
        if mentioned.search(line):
            lines.append(rename.code(line))
    if lines == routes.splitlines(keepends=True):
        raise ScaffoldError(f"{ROUTES} has no line with {_class(pattern.many)}")
    return _sort_imports("".join(lines))


# --- the names ----------------------------------------------------------------------------


class _Renaming:
    """Replaces the names of one feature by those of another, whole words and parts of them."""

    def __init__(self, old: Names, new: Names) -> None:
        self._in_code = dict(zip(old.forms, new.forms, strict=True))
        spoken = [word for name in (new.many, new.one) for word in _spoken(name)]
        self._in_prose = dict(zip(old.forms, spoken, strict=True))
        forms = "|".join(sorted(old.forms, key=len, reverse=True))
        # A class may end another one's name (NewProject); no other name is within a word.
        self._code = re.compile(rf"(?:(?<![A-Za-z])|(?=[A-Z]))({forms})(?![a-z])")
        self._prose = re.compile(rf"\b(?:([Aa]n?) )?(?<![\w/`\"'])({forms})(?![\w/`\"'])")

    def __call__(self, text: str) -> str:
        """Return a Python module or SQL under the new names; its imports are in order."""
        if text.startswith("--"):
            return self.code(text)
        return _sort_imports(self.code(self._rename_prose(text)))

    def code(self, text: str) -> str:
        """Return code under the new names."""
        return self._code.sub(lambda found: self._in_code[found[1]], text)

    def _rename_prose(self, text: str) -> str:
        """Return a module whose comments and docstrings speak of the new things."""
        lines = text.splitlines(keepends=True)
        for first, last in _prose_lines(text):
            for number in range(first, last):
                lines[number] = self._prose.sub(self._say, lines[number])
        return "".join(lines)

    def _say(self, found: re.Match[str]) -> str:
        article, name = found.groups()
        words = self._in_prose[name]
        if article is None:
            return words
        return f"{article[0]}{'n' if words[0].lower() in 'aeio' else ''} {words}"


def _prose_lines(text: str) -> Iterator[tuple[int, int]]:
    """Yield the lines, counted from 0, that are within a docstring or are a comment alone."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        is_docstring = token.type == tokenize.STRING and token.string.startswith('"""')
        is_comment = token.type == tokenize.COMMENT and token.line.strip().startswith("#")
        if is_docstring or is_comment:
            yield token.start[0] - 1, token.end[0]


def _class(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _spoken(name: str) -> tuple[str, str]:
    """Return a name as it stands in a sentence, and at the beginning of one."""
    words = name.replace("_", " ")
    return words, words.capitalize()


def _sort_imports(text: str) -> str:
    """Return a module whose imports of x121, one a line, are in order again, and their names.

    So are those of ``__all__``.
    """
    block = re.compile(r"(?:^from (?:tests|x121)[\w.]* import [^(\n]*\n)+", re.MULTILINE)
    text = block.sub(lambda found: "".join(sorted(found[0].splitlines(keepends=True))), text)
    text = re.sub(r"(?m)^(from (?:tests|x121)[\w.]* import )([^(\n]*)$", _sort_names, text)
    return re.sub(r"(?m)^(__all__ = \[)([^]\n]*)", _sort_names, text)


def _sort_names(found: re.Match[str]) -> str:
    """Return the second group, names, in the order that ruff likes, behind the first."""

    def rank(name: str) -> tuple[int, str, str]:
        bare = name.strip('"')
        kind = 0 if bare.isupper() else 1 if bare[0].isupper() else 2
        return kind, bare.lower(), bare

    names = [name.strip() for name in found[2].split(",") if name.strip()]
    return found[1] + ", ".join(sorted(names, key=rank))
