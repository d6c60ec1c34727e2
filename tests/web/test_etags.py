"""EntityTags that a client agrees to change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from x121.core.models import Model
from x121.errors import PreconditionFailed
from x121.web.etags import ANY_VERSION, EntityTags, IfMatch, etag_of


class Thing(Model):
    name: str


THING = Thing(name="a")
TAG = etag_of(b'{"name":"a"}').decode()
read = TypeAdapter[EntityTags](IfMatch).validate_python


def test_tag() -> None:
    """A tag is of the body alone, and another one for another body."""
    assert TAG == etag_of(b'{"name":"a"}').decode() != etag_of(b'{"name":"b"}').decode()
    assert TAG[0] == TAG[-1] == '"'


@pytest.mark.parametrize(
    "text",
    [
        TAG,
        f'"x", {TAG}',
        f"  {TAG},W/{TAG}",
        "*",
        " * ",
        f'"a,b",{TAG}',
        f', "x", ,{TAG} ,,',
        f"W/{TAG}",
    ],
)
def test_same(text: str) -> None:
    """A list with the current tag agrees, a proxy's weak one too, and so does a star.

    Empty elements are none.
    """
    read(text).check(THING)
    ANY_VERSION.check(THING)


@pytest.mark.parametrize("text", ['"x"', 'W/"x"', f'"{TAG[1:-1]}x"', '""', '"*"'])
def test_other(text: str) -> None:
    """Any other tag doesn't."""
    with pytest.raises(PreconditionFailed):
        read(text).check(THING)


@pytest.mark.parametrize("text", [TAG, f"W/{TAG}", "*", f'"x", {TAG}'])
def test_excluded(text: str) -> None:
    """If-None-Match excludes the versions that it lists, and with a star every one."""
    for versions in (ANY_VERSION, read("*"), read(TAG)):
        with pytest.raises(PreconditionFailed, match="If-None-Match"):
            versions.excluding(text).check(THING)


def test_not_excluded() -> None:
    """If-None-Match with other tags excludes nothing, and If-Match still counts."""
    ANY_VERSION.excluding('"x", ""').check(THING)
    with pytest.raises(PreconditionFailed, match="The resource has changed"):
        read('"y"').excluding('"x"').check(THING)


@pytest.mark.parametrize("text", ["", "x", '"', '"a" "b"', ",", '*, "a"', '"a\n"', 'w/"a"'])
def test_malformed(text: str) -> None:
    """What is no list of tags is an error."""
    with pytest.raises(ValidationError, match="list of tags"):
        read(text)


@given(st.text())
def test_anything(text: str) -> None:
    """Whatever a header says agrees, doesn't, or is an error; and no text takes long."""
    try:
        read(text).check(THING)
    except (ValidationError, PreconditionFailed):
        return
    assert TAG in text or text.strip() == "*"
