"""Typed endpoints: what they refuse before the handler runs, and what they answer after it."""

from __future__ import annotations

import enum
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any, Literal

from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.web.iweb import IRequest

from tests.memory import AppTestCase
from x121.application import AppState
from x121.core.models import Id, Model, Text, Timestamp
from x121.errors import NotFound
from x121.testing.connection import Response as Received
from x121.web.operations import Body, Header, Query, Response
from x121.web.router import Router

JSON = {"Content-Type": "application/json"}
REFUSED = {"error": "The request is not valid", "code": "BAD_REQUEST"}


class Item(Model):
    name: Annotated[Text, Field(min_length=1, max_length=5)]
    count: int = 1


class Order(Model):
    items: list[Item]
    note: Text = ""


class Sent(Model):
    moment: Timestamp


class Aliased(Model):
    since: str = Field(alias="from")


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Orders:
    """Typed handlers of every kind, and a plain one."""

    router = Router()

    def __init__(self, state: AppState) -> None:
        self._clock = state.ws_manager.clock
        self.seen: list[Any] = []

    @router.get("/search/<word>/<int:owner_id>")
    def search(
        self,
        word: Annotated[str, Field(max_length=3)],
        owner_id: Id,
        limit: Annotated[int, Field(ge=1, le=100)] = 20,
        colours: Annotated[list[Text], Query("colour")] = [],  # noqa: B006
        since: Timestamp | None = None,
        is_new: bool = False,
        language: Annotated[str, Header("Accept-Language")] = "en",
    ) -> dict[str, Any]:
        self.seen.append(since)
        return {
            "word": word, "owner": owner_id, "limit": limit, "colours": colours,
            "new": is_new, "language": language,
        }  # fmt: skip

    @router.get("/values/<colour>")
    def values(
        self,
        colour: Literal[1, 2],
        size: Size = Size.SMALL,
        level: Literal[1, 2] = 1,
        factor: float = 1,
        tags: Annotated[list[str], Header("X-Tag")] = [],  # noqa: B006
        numbers: Annotated[tuple[int, ...], Header("X-Number")] = (),
    ) -> list[Any]:
        return [colour, size, level, factor, tags, numbers]

    @router.get("/required")
    def required(self, q: str) -> str:
        return q

    @router.post("/<int:owner_id>", status=201, headers={"Location": "where"})
    async def create(self, owner_id: Id, request: IRequest, order: Order) -> Response[Order]:
        self.seen.append(order)
        path: bytes = request.path
        return Response(order, {"Location": f"{path.decode()}/7"})

    @router.put("/list")
    def replace(self, numbers: Annotated[list[int], Body()]) -> list[int]:
        return numbers

    @router.post("/optional")
    def optional(self, item: Item = Item(name="none")) -> Item:  # noqa: B008
        return item

    @router.post("/nullable")
    def nullable(self, item: Item | None = None) -> Item | None:
        return item

    @router.put("/any")
    def keep(self, value: Annotated[Any, Body()]) -> Any:
        return value

    @router.delete("/<int:owner_id>")
    async def delete(self, owner_id: Id) -> None: ...

    @router.get("/later")
    async def later(self, limit: int = 1) -> Item:
        await deferLater(self._clock, 1)
        return Item(name="later", count=limit)

    @router.get("/deferred")
    def deferred(self) -> Deferred[Item]:
        return succeed(Item(name="fired"))

    @router.get("/missing")
    async def missing(self) -> Item:
        raise NotFound("There is no such item")

    @router.get("/moment")
    def moment(self) -> Sent:
        return Sent(moment=datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2))))

    @router.get("/tagged", etag=True)
    def tagged(self) -> Item:
        return Item(name="same")

    @router.patch("/tagged", etag=True)
    def retag(self) -> Item:
        return Item(name="same")

    @router.get("/wrong/<kind>")
    def wrong(self, kind: str) -> Item:
        wrong: dict[str, Any] = {
            "other": "secret text",
            "fields": {"name": "", "count": "secret text"},
            "unchecked": Item.model_construct(name="secret text, too long"),
            "nothing": None,
        }
        return wrong[kind]  # type: ignore[no-any-return]

    @router.get("/unawaited/<kind>")
    async def unawaited(self, kind: str) -> Item:
        return _unawaited(kind)  # type: ignore[no-any-return]

    @router.get("/unawaited-anything/<kind>")
    async def unawaited_anything(self, kind: str) -> Any:
        return _unawaited(kind)

    @router.get("/unawaited-nothing/<kind>")
    async def unawaited_nothing(self, kind: str) -> None:
        return _unawaited(kind)  # type: ignore[no-any-return]

    @router.route("/unawaited-plain/<kind>")
    async def unawaited_plain(self, request: IRequest, kind: str) -> Any:
        return _unawaited(kind)

    @router.get("/unsendable")
    def unsendable(self) -> Any:
        return {"secret text": object()}

    @router.get("/aliased")
    def aliased(self) -> Aliased:
        return Aliased.model_validate({"from": "yesterday"})

    @router.get("/wrong-nothing")
    def wrong_nothing(self) -> None:
        return 7  # type: ignore[return-value]

    @router.route("/plain/<int:number>")
    def plain(self, request: IRequest, number: int) -> bytes:
        return b"plain %d" % number


def _unawaited(kind: str) -> Any:
    """Return what a handler returns by mistake: something that has yet to run."""

    async def coroutine() -> None: ...

    async def async_generator() -> AsyncIterator[int]:
        yield 1

    def generator() -> Iterator[int]:
        yield 1

    return {"coroutine": coroutine, "async_generator": async_generator, "generator": generator}[
        kind
    ]()


class TypedTestCase(AppTestCase):
    def setUp(self) -> None:
        made: list[Orders] = []

        def feature(state: AppState) -> Router:
            made.append(Orders(state))
            return made[0].router

        self.served = self.app(feature)
        self.orders = made[0]

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Received:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.served.request(method, f"/test{path}", {**JSON, **given}, body)

    def assertRefused(self, answer: Received, *paths: str) -> None:
        """Fail unless the answer says that just these fields are wrong."""
        body = answer.json
        details = body.pop("details")
        self.assertEqual((answer.status, body), (400, REFUSED))
        self.assertEqual(sorted(one["path"] for one in details), sorted(paths))
        self.assertTrue(all(one["message"] for one in details))


class ParameterTests(TypedTestCase):
    def test_defaults(self) -> None:
        """What isn't sent is what the signature says."""
        answer = self.ask("GET", "/search/abc/7")
        self.assertEqual(
            answer.json,
            {
                "word": "abc", "owner": 7, "limit": 20, "colours": [],
                "new": False, "language": "en",
            },
        )  # fmt: skip

    def test_all(self) -> None:
        """Each parameter is read from its place, and is of its type."""
        query = "limit=3&colour=red&colour=gr%C3%BCn&since=2026-01-01T12:00:00%2B02:00&is_new=true"
        answer = self.ask("GET", f"/search/abc/7?{query}&unknown=1", Accept_Language="de")
        self.assertEqual(
            answer.json,
            {
                "word": "abc", "owner": 7, "limit": 3, "colours": ["red", "grün"],
                "new": True, "language": "de",
            },
        )  # fmt: skip
        self.assertEqual(self.orders.seen, [datetime(2026, 1, 1, 10, tzinfo=UTC)])

    def test_every_wrong_one_is_told(self) -> None:
        """All that is wrong is told at once, by the names that a client knows."""
        query = "limit=0&colour=a&colour=%00&since=yesterday&is_new=perhaps"
        answer = self.ask("GET", f"/search/abcd/0?{query}")
        self.assertRefused(answer, "word", "owner_id", "limit", "colour[1]", "since", "is_new")
        self.assertEqual(self.orders.seen, [])

    def test_twice(self) -> None:
        """A parameter that is one value isn't given twice."""
        self.assertRefused(self.ask("GET", "/search/abc/7?limit=1&limit=2"), "limit")

    def test_required(self) -> None:
        """A parameter without a default has to be there; an empty one is."""
        self.assertRefused(self.ask("GET", "/required"), "q")
        self.assertEqual(self.ask("GET", "/required?q=").json, "")

    def test_semicolon(self) -> None:
        """A semicolon separates nothing: it is a part of its value."""
        self.assertEqual(self.ask("GET", "/required?q=a;b").json, "a;b")
        self.assertRefused(self.ask("GET", "/search/abc/7?limit=1;limit=2"), "limit")
        self.assertRefused(self.ask("GET", "/required?x=1;q=2"), "q")

    def test_text_that_is_none(self) -> None:
        """A parameter that isn't UTF-8 is refused once, though it is missing then."""
        self.assertRefused(self.ask("GET", "/required?q=%ff"), "q")

    def test_choices(self) -> None:
        """A choice of numbers is made by their digits, in the path as in the query."""
        answer = self.ask("GET", "/values/2?size=2&level=2&factor=2.5")
        self.assertEqual(answer.json, [2, 2, 2, 2.5, [], []])
        self.assertRefused(
            self.ask("GET", "/values/3?size=3&level=SMALL&factor=nan"),
            "colour", "size", "level", "factor",
        )  # fmt: skip

    def test_integers(self) -> None:
        """An integer is digits, and nothing that only looks like a number."""
        for text in ("1_0", "1.0", "%2B5", "1%0a", "%205", "%EF%BC%95", "1e1", ""):
            self.assertRefused(self.ask("GET", f"/search/abc/7?limit={text}"), "limit")

    def test_list_in_a_header(self) -> None:
        """A header that is a list may come in one line or in several (RFC 9110 section 5.3)."""
        answer = self.ask("GET", "/values/1", X_Tag='a, "b, c",, d', X_Number="1,2 , 3")
        self.assertEqual(answer.json[4:], [["a", '"b, c"', "d"], [1, 2, 3]])
        connection = self.served.connect()
        lines = b"X-Tag: a\r\nX-Tag: b, c\r\nX-Number: 7\r\n"
        connection.send(b"GET /test/values/1 HTTP/1.1\r\nHost: a\r\n%b\r\n" % lines)
        self.assertEqual(connection.response().json[4:], [["a", "b", "c"], [7]])
        self.assertRefused(self.ask("GET", "/values/1", X_Number="1, x"), "X-Number[1]")

    def test_id_past_bigint(self) -> None:
        """An id that no row can have is at no path."""
        self.assertEqual(self.ask("GET", f"/search/abc/{2**63 - 1}").status, 200)
        self.assertEqual(self.ask("GET", f"/search/abc/{2**63}").status, 404)

    @given(st.binary(max_size=20))
    def test_any_query(self, value: bytes) -> None:
        """Whatever a query has, it is a number in bounds or an error."""
        text = "".join(f"%{byte:02x}" for byte in value)
        answer = self.ask("GET", f"/search/abc/7?limit={text}")
        if answer.status == 200:
            self.assertIn(answer.json["limit"], range(1, 101))
        else:
            self.assertRefused(answer, "limit")


class BodyTests(TypedTestCase):
    def test_body(self) -> None:
        """A body becomes its model, and an answer has its status and headers."""
        answer = self.ask("POST", "/7", b'{"items": [{"name": "a"}]}')
        self.assertEqual(answer.status, 201)
        self.assertEqual(answer.headers["location"], "/test/7/7")
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(answer.json, {"items": [{"name": "a", "count": 1}], "note": ""})
        self.assertEqual(self.orders.seen, [Order(items=[Item(name="a")])])

    def test_every_wrong_field_is_told(self) -> None:
        """All wrong fields are told, with paths, together with wrong parameters."""
        body = b'{"items": [{"name": ""}, {"count": "2", "x": 1}, 7], "note": "\\u0000", "nope": 0}'
        paths = ("items[0].name", "items[1].name", "items[1].count", "items[1].x", "items[2]")
        self.assertRefused(self.ask("POST", "/0", body), *paths, "note", "nope", "owner_id")
        self.assertEqual(self.orders.seen, [])

    def test_no_json(self) -> None:
        """A body that isn't JSON, or of another shape, is one error about the whole."""
        for body in (
            b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"items": []} x', b"{'items': []}",
            b'{"items": [], "note": "\\ud800"}', b'{"items": [], "note": "\xed\xa0\x80"}',
            b'{"items": ' + b"[" * 9_000,
        ):  # fmt: skip
            self.assertRefused(self.ask("POST", "/7", body), "")

    def test_left_out(self) -> None:
        """A body with a default may be left out, and then needs no type; it is checked if there."""
        for headers in ({}, {"Content-Type": "text/plain"}):
            for path, expected in (
                ("/optional", {"name": "none", "count": 1}), ("/nullable", None),
            ):  # fmt: skip
                answer = self.served.request("POST", f"/test{path}", headers)
                self.assertEqual((answer.status, answer.json), (200, expected))
        for path in ("/optional", "/nullable"):
            self.assertEqual(self.ask("POST", path, b'{"name": "a"}').json["name"], "a")
            self.assertRefused(self.ask("POST", path, b'{"name": ""}'), "name")
            answer = self.ask("POST", path, b"{}", Content_Type="text/plain")
            self.assertEqual(answer.status, 415)
        self.assertEqual(self.ask("POST", "/nullable", b"null").body, b"null")
        self.assertRefused(self.ask("POST", "/optional", b"null"), "")

    def test_list(self) -> None:
        """A body that is no object is marked as the body."""
        self.assertEqual(self.ask("PUT", "/list", b"[1, 2]").json, [1, 2])
        self.assertRefused(self.ask("PUT", "/list", b'[1, "2", true, 1.0]'), "[1]", "[2]", "[3]")

    def test_types(self) -> None:
        """A body has to say that it is JSON, in UTF-8; no page of another origin can by itself."""
        body = b'{"items": []}'
        good = (
            "application/json",
            "Application/JSON; charset=UTF-8",
            'application/json;charset="utf-8"',
        )
        for content_type in good:
            self.assertEqual(self.ask("POST", "/7", body, Content_Type=content_type).status, 201)
        for content_type in (
            "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
            "application/json; charset=latin-1", "application/jsonx", "", "text/json",
        ):  # fmt: skip
            answer = self.ask("POST", "/7", body, Content_Type=content_type)
            self.assertEqual((answer.status, answer.json["code"]), (415, "UNSUPPORTED_MEDIA_TYPE"))
        answer = self.served.request("POST", "/test/7", {}, body)
        self.assertEqual(answer.status, 415)
        self.assertEqual(len(self.orders.seen), len(good))

    def test_compressed(self) -> None:
        """A body that is compressed isn't read (RFC 9110 section 15.5.16)."""
        body = b'{"items": []}'
        self.assertEqual(self.ask("POST", "/7", body, Content_Encoding="gzip").status, 415)
        self.assertEqual(self.ask("POST", "/7", body, Content_Encoding="identity").status, 201)

    def test_numbers_that_are_none(self) -> None:
        """NaN and infinite numbers are no JSON (RFC 8259 section 6), wherever they stand."""
        for number in (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999"):
            self.assertRefused(self.ask("PUT", "/any", b'{"a": [1.5, %b]}' % number), "")
        self.assertEqual(self.ask("PUT", "/any", b'{"a": [1.5, 1e99]}').json, {"a": [1.5, 1e99]})

    def test_size(self) -> None:
        """JSON above its own limits is 413, which says which setting is meant."""
        self.served = self.app(lambda state: Orders(state).router, MAX_JSON_BYTES="20")
        self.assertEqual(self.ask("PUT", "/list", b"[1,2,3,4,5,6,7,8,90]").status, 200)
        answer = self.ask("PUT", "/list", b"[1,2,3,4,5,6,7,8,900]")
        self.assertEqual((answer.status, answer.json["code"]), (413, "PAYLOAD_TOO_LARGE"))
        self.assertIn("20 bytes of JSON (MAX_JSON_BYTES)", answer.json["error"])
        self.served = self.app(lambda state: Orders(state).router, MAX_JSON_VALUES="4")
        self.assertEqual(self.ask("PUT", "/list", b"[1,2,3]").status, 200)
        answer = self.ask("PUT", "/list", b"[1,2,3,4]")
        self.assertEqual((answer.status, answer.json["code"]), (413, "PAYLOAD_TOO_LARGE"))
        self.assertIn("4 values (MAX_JSON_VALUES)", answer.json["error"])

    def test_many_wrong_fields(self) -> None:
        """A body of a great many wrong fields is refused before any of them is looked at."""
        for body in (
            b"{" + b",".join(b'"%x":0' % number for number in range(200_000)) + b"}",
            b'{"items":[' + b"{}," * 500_000 + b"{}]}",
        ):
            self.assertEqual(self.ask("POST", "/7", body[: 1 << 20]).status, 413)

    def test_details_are_bounded(self) -> None:
        """A body with very many wrong fields is told how many, and no more."""
        answer = self.ask("PUT", "/list", b"[" + b'"",' * 99 + b'""]')
        self.assertEqual(len(answer.json["details"]), 100)
        answer = self.ask("PUT", "/list", b"[" + b'"",' * 100 + b'""]')
        self.assertRefused(answer, "")
        self.assertIn("101 fields", answer.json["details"][0]["message"])

    def test_path_is_bounded(self) -> None:
        """A field's name that a client made up is cut off."""
        name = b"x" * 10_000
        answer = self.ask("POST", "/7", b'{"items": [], "%b": 1}' % name)
        self.assertLess(len(answer.body), 500)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda values: st.lists(values) | st.dictionaries(st.text(), values),
        )
    )
    def test_any_json(self, value: Any) -> None:
        """Whatever JSON a body is, it is a model's or the error says where it isn't."""
        answer = self.ask("POST", "/7", json.dumps(value).encode())
        self.assertIn(answer.status, (201, 400))
        if answer.status == 400:
            self.assertTrue(answer.json["details"])


class ResultTests(TypedTestCase):
    def test_coroutine(self) -> None:
        """A handler that waits is answered when it is done."""
        connection = self.served.connect()
        connection.send(b"GET /test/later?limit=3 HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(connection.received, b"")
        self.served.clock.advance(1)
        self.assertEqual(connection.response().json, {"name": "later", "count": 3})

    def test_deferred(self) -> None:
        """A handler may return a Deferred."""
        self.assertEqual(self.ask("GET", "/deferred").json, {"name": "fired", "count": 1})

    def test_nothing(self) -> None:
        """A handler that returns nothing is answered with 204, and no type."""
        answer = self.ask("DELETE", "/7")
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertNotIn("content-type", answer.headers)

    def test_error(self) -> None:
        """What a handler raises is answered as ever."""
        answer = self.ask("GET", "/missing")
        self.assertEqual((answer.status, answer.json["code"]), (404, "NOT_FOUND"))

    def test_moment(self) -> None:
        """A moment is written in UTC, with ``Z``."""
        self.assertEqual(self.ask("GET", "/moment").json, {"moment": "2026-01-01T10:00:00Z"})

    def test_wrong(self) -> None:
        """A result that breaks its model is our fault: told to the log alone, without the data."""
        for kind, field in (
            ("other", "Input"), ("fields", "name: "), ("unchecked", "name: "), ("nothing", "Input"),
        ):  # fmt: skip
            self.served.log.clear()
            answer = self.ask("GET", f"/wrong/{kind}")
            self.assertEqual((answer.status, answer.json["code"]), (500, "INTERNAL_ERROR"))
            (line,) = self.served.lines("x121.errors")
            self.assertEqual(line["level"], "error")
            self.assertIn(f"Orders.wrong returned is not valid: {field}", line["message"])
            self.assertNotIn("secret", str(self.served.log))
            self.flushLoggedErrors()
        answer = self.ask("GET", "/wrong-nothing")
        self.assertEqual((answer.status, answer.json["code"]), (500, "INTERNAL_ERROR"))
        self.flushLoggedErrors()

    def test_unawaited(self) -> None:
        """A handler that forgot to await is told so in the log, by its name."""
        for kind, mistake in (
            ("coroutine", "a coroutine: write await"),
            ("async_generator", "an async generator: return [item async for"),
            ("generator", "a generator: return list"),
        ):
            for path in ("unawaited", "unawaited-anything", "unawaited-nothing", "unawaited-plain"):
                if (kind, path) == ("generator", "unawaited-anything"):
                    continue  # pydantic writes a generator as a list
                self.served.log.clear()
                self.assertEqual(self.ask("GET", f"/{path}/{kind}").status, 500)
                (line,) = self.served.lines("x121.errors")
                self.assertIn(
                    f"returned {'' if 'plain' in path else 'is '}{mistake}", line["message"]
                )
                self.flushLoggedErrors()

    def test_async_generator(self) -> None:
        """A handler that is an async generator is refused when it is declared."""

        async def stream() -> AsyncIterator[Item]:
            yield Item(name="a")

        error = self.assertRaises(TypeError, Router().get("/"), stream)
        self.assertIn("stream: it is an async generator: return a list", str(error))

    def test_unsendable(self) -> None:
        """What has no form in JSON is our fault, too."""
        answer = self.ask("GET", "/unsendable")
        self.assertEqual((answer.status, answer.json["code"]), (500, "INTERNAL_ERROR"))
        (line,) = self.served.lines("x121.errors")
        self.assertIn("Orders.unsendable returned can't be sent: ", line["message"])
        self.assertNotIn("secret", str(self.served.log))
        self.flushLoggedErrors()

    def test_aliases(self) -> None:
        """A field is sent by its name outside."""
        self.assertEqual(self.ask("GET", "/aliased").json, {"from": "yesterday"})

    def test_plain_handler_beside_it(self) -> None:
        """A plain Klein handler works in the same router."""
        self.assertEqual(self.ask("GET", "/plain/7").body, b"plain 7")

    def test_head(self) -> None:
        """HEAD is there where GET is, with its headers."""
        answer = self.ask("HEAD", "/tagged")
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(answer.headers["etag"], self.ask("GET", "/tagged").headers["etag"])

    def test_other_method(self) -> None:
        """The methods of several handlers at one path are told together."""
        answer = self.ask("PUT", "/tagged")
        self.assertEqual(
            (answer.status, answer.headers["allow"]), (405, "GET, HEAD, OPTIONS, PATCH")
        )


class TagTests(TypedTestCase):
    def test_known(self) -> None:
        """A client that has the version already is told so, and sent nothing."""
        tag = self.ask("GET", "/tagged").headers["etag"]
        for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
            answer = self.ask("GET", "/tagged", If_None_Match=known)
            self.assertEqual((answer.status, answer.body), (304, b""), known)
            self.assertEqual(answer.headers["etag"], tag)
            self.assertNotIn("content-type", answer.headers)

    def test_unknown(self) -> None:
        """Any other version is sent."""
        for other in ('"x"', "x", "", '"'):
            self.assertEqual(self.ask("GET", "/tagged", If_None_Match=other).status, 200)

    def test_of_a_change(self) -> None:
        """The answer to a change has a tag too, and is always sent."""
        answer = self.ask("PATCH", "/tagged", If_None_Match="*")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["etag"], self.ask("GET", "/tagged").headers["etag"])


class FunctionTests(AppTestCase):
    def test_functions(self) -> None:
        """A router that belongs to no class has typed handlers, too."""
        router = Router()

        @router.get("/double")
        def double(number: int) -> int:
            return 2 * number

        answer = self.app(router).request("GET", "/test/double?number=4")
        self.assertEqual(answer.json, 8)
        self.assertEqual(double(4), 8)  # and is what it was
