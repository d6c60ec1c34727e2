"""Routes: Klein handlers of every kind, nested into one map, matched once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from klein import Klein, Response
from klein.interfaces import IKleinRequest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import File
from twisted.web.template import tags

from tests.memory import AppTestCase
from x121.application import AppState
from x121.core.models import Id, Model
from x121.http.request import Request
from x121.web.responses import json_response, no_content
from x121.web.router import Router


class Kinds:
    """Handlers of every kind that Klein knows."""

    router = Router()

    def __init__(self, state: AppState) -> None:
        self._clock = state.ws_manager.clock

    @router.route("/")
    def index(self, request: Request) -> str:
        return "index"

    @router.route("/text")
    def text(self, request: Request) -> str:
        return "text ü"

    @router.route("/bytes")
    def raw(self, request: Request) -> bytes:
        return b"bytes"

    @router.route("/nothing")
    def nothing(self, request: Request) -> None:
        return None

    @router.route("/deferred")
    def deferred(self, request: Request) -> Deferred[str]:
        return deferLater(self._clock, 1, lambda: "deferred")

    @router.route("/fired")
    def fired(self, request: Request) -> Deferred[str]:
        return succeed("fired")

    @router.route("/coroutine")
    async def coroutine(self, request: Request) -> str:
        await deferLater(self._clock, 1)
        return "coroutine"

    @router.route("/int/<int:number>")
    def number(self, request: Request, number: int) -> str:
        return repr(number)

    @router.route("/path/<path:rest>")
    def path(self, request: Request, rest: str) -> str:
        return rest

    @router.route("/streamed")
    async def streamed(self, request: Request) -> None:
        for part in (b"one,", b"two"):
            request.write(part)
            await deferLater(self._clock, 1)

    @router.route("/dict")
    def dict(self, request: Request) -> Any:
        return {"a": 1}

    @router.route("/own")
    def own(self, request: Request) -> int:
        request.write(b"own")
        request.finish()
        return NOT_DONE_YET

    @router.route("/own-plain")
    def own_plain(self, request: Request) -> None:
        request.write(b"own")
        request.finish()

    @router.route("/twice")
    def twice(self, request: Request) -> str:
        return "first"

    @router.route("/twice", endpoint="again")
    def again(self, request: Request) -> str:
        return "second"

    @router.route("/response")
    async def response(self, request: Request) -> Response:
        return Response(code=202, headers={"X-A": "b"}, body="accepted")

    @router.route("/template")
    def template(self, request: Request) -> Any:
        return tags.p("<ü>", deferLater(self._clock, 1, lambda: "late"))

    @router.route("/file")
    def file(self, request: Request) -> Any:
        return File(__file__)

    @router.route("/url")
    def url(self, request: Request) -> str:
        return IKleinRequest(request).url_for("test.number", {"number": 7})

    @router.route("/json", methods=["PUT"])
    def json(self, request: Request) -> bytes:
        return json_response(request, {"made": True}, 201)

    @router.route("/json", methods=["DELETE"])
    def delete(self, request: Request) -> bytes:
        return no_content(request)

    @router.route("/folder/")
    def folder(self, request: Request) -> str:
        return "folder"


def kinds(state: AppState) -> Router:
    return Kinds(state).router


class HandlerTests(AppTestCase):
    def setUp(self) -> None:
        self.server = self.app(kinds)

    def body(self, path: str) -> str:
        connection = self.server.connect()
        connection.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        self.server.clock.pump([1, 1])
        return connection.response().body.decode()

    def test_every_kind(self) -> None:
        """Plain, Deferred and coroutine handlers are all served."""
        for kind in ("text ü", "bytes", "deferred", "fired", "coroutine"):
            self.assertEqual(self.body("/test/" + kind.split()[0]), kind)
        self.assertEqual(self.body("/test/streamed"), "one,two")

    def test_length(self) -> None:
        """A body that is whole has its length announced; text without a type is plain text."""
        headers = self.server.request("GET", "/test/text").headers
        self.assertEqual(headers["content-length"], "7")
        self.assertNotIn("transfer-encoding", headers)
        self.assertEqual(headers["content-type"], "text/plain; charset=utf-8")

    def test_streamed_is_chunked(self) -> None:
        """A body that is written in parts is chunked."""
        connection = self.server.connect()
        connection.send(b"GET /test/streamed HTTP/1.1\r\nHost: a\r\n\r\n")
        self.server.clock.pump([1, 1])
        response = connection.response()
        self.assertEqual(response.headers["transfer-encoding"], "chunked")

    def test_responses(self) -> None:
        """``json_response`` sets status and type, ``no_content`` is 204 without a body."""
        response = self.server.request("PUT", "/test/json")
        self.assertEqual((response.status, response.json), (201, {"made": True}))
        self.assertEqual(response.headers["content-type"], "application/json")
        response = self.server.request("DELETE", "/test/json")
        self.assertEqual((response.status, response.body), (204, b""))
        self.assertNotIn("content-type", response.headers)
        self.assertNotIn("content-length", response.headers)

    def test_unfit_results(self) -> None:
        """What is no answer is a fault that says what would be one; a forgotten return, too."""
        for path in ("/test/dict", "/test/nothing"):
            response = self.server.request("GET", path)
            self.assertEqual((response.status, response.json["code"]), (500, "PANIC"))
            self.assertIn("json_response", self.server.lines("x121.errors")[-1]["message"])
        self.flushLoggedErrors(TypeError)

    def test_own_answer(self) -> None:
        """A handler may write and finish by itself."""
        self.assertEqual(self.body("/test/own"), "own")
        self.assertEqual(self.body("/test/own-plain"), "own")
        self.assertEqual(self.server.lines("x121.errors"), [])

    def test_first_route_wins(self) -> None:
        """Of two routes that are alike the first one is served."""
        self.assertEqual(self.body("/test/twice"), "first")

    def test_klein_response(self) -> None:
        """Klein's Response has its status, headers and body."""
        response = self.server.request("GET", "/test/response")
        self.assertEqual((response.status, response.body), (202, b"accepted"))
        self.assertEqual(response.headers["x-a"], "b")

    def test_template(self) -> None:
        """A template is sent whole, as HTML, when all of it is there."""
        connection = self.server.connect()
        connection.send(b"GET /test/template HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(connection.received, b"")
        self.server.clock.advance(1)
        response = connection.response()
        self.assertEqual(response.body.decode(), "<!DOCTYPE html>\n<p>&lt;ü&gt;late</p>")
        self.assertEqual(response.headers["content-type"], "text/html; charset=utf-8")

    def test_template_of_a_client_that_left(self) -> None:
        """A template that is ready when its client has left is dropped without a word."""
        connection = self.server.connect()
        connection.send(b"GET /test/template HTTP/1.1\r\nHost: a\r\n\r\n")
        connection.disconnect()
        self.server.clock.advance(1)
        self.assertEqual([line["status"] for line in self.server.log], [499])

    def test_file(self) -> None:
        """HEAD of a file tells the length that GET would have."""
        head = self.server.request("HEAD", "/test/file")
        self.assertEqual(head.headers["content-length"], str(Path(__file__).stat().st_size))

    def test_url_for(self) -> None:
        """A handler can ask for the path of another route."""
        self.assertEqual(self.body("/test/url"), "/test/int/7")

    def test_integers(self) -> None:
        """``<int:...>`` takes what a BIGINT holds; anything else is 404, at any length."""
        self.assertEqual(self.body("/test/int/0"), "0")
        self.assertEqual(self.body(f"/test/int/{2**63 - 1}"), str(2**63 - 1))
        for text in (str(2**63), "-1", "1.0", "x", "%D9%A1", "9" * 19, "9" * 5000, "1_0", ""):
            response = self.server.request("GET", f"/test/int/{text}")
            self.assertEqual(response.status, 404, text)

    def test_integers_with_every_method(self) -> None:
        """An integer past BIGINT is 404 with every method that its path has, and not 405."""
        router = Router()

        @router.get("/<int:number>")
        def show(number: int) -> int:
            return number

        @router.delete("/<int:number>")
        def remove(number: int) -> int:
            return number

        app = self.app(router)
        for method in ("GET", "DELETE"):
            for number, status in ((2**63 - 1, 200), (2**63, 404)):
                self.assertEqual(app.request(method, f"/test/{number}").status, status)

    def test_paths_are_decoded(self) -> None:
        """Path arguments are decoded UTF-8."""
        self.assertEqual(self.body("/test/path/a%20b/%C3%BC"), "a b/ü")

    def test_redirect(self) -> None:
        """A route that ends in a slash is where its path without one leads, on the same host."""
        response = self.server.request("GET", "/test/folder?a=%20b", {"Host": "x.test:81"})
        self.assertEqual(response.status, 308)
        self.assertEqual(response.headers["location"], "/test/folder/?a=%20b")
        self.assertEqual(self.body("/test/folder/"), "folder")

    def test_double_slash_is_not_one(self) -> None:
        """Two slashes are not one."""
        self.assertEqual(self.server.request("GET", "//health").status, 404)
        self.assertEqual(self.server.request("GET", "/test//text").status, 404)

    def test_encoded_slash_is_no_slash(self) -> None:
        """An encoded slash does not lead where a slash does."""
        for path in ("/%2fhealth", "/health%2Flive", "/test%2ftext"):
            self.assertEqual(self.server.request("GET", path).status, 404)


class MethodTests(AppTestCase):
    def setUp(self) -> None:
        self.server = self.app(kinds)

    def test_head(self) -> None:
        """HEAD is served wherever GET is: the same headers and no body."""
        for path in ("/health", "/test/text", "/test/int/7"):
            get, head = (self.server.request(method, path) for method in ("GET", "HEAD"))
            self.assertEqual((head.status, head.body), (200, b""))
            self.assertEqual(set(head.headers), set(get.headers))
            self.assertEqual(head.headers["content-length"], get.headers["content-length"])

    def test_case(self) -> None:
        """Methods are case-sensitive."""
        for method in ("get", "Get", "head", "options"):
            self.assertEqual(self.server.request(method, "/health").status, 405, method)

    def test_head_of_an_error(self) -> None:
        """HEAD of what isn't there is 404 without a body."""
        response = self.server.request("HEAD", "/nowhere")
        self.assertEqual((response.status, response.body), (404, b""))

    def test_default(self) -> None:
        """A route without methods answers GET and HEAD."""
        response = self.server.request("POST", "/test/text")
        self.assertEqual(response.status, 405)
        self.assertEqual(response.headers["allow"], "GET, HEAD, OPTIONS")

    def test_allow_names_all_routes_of_a_path(self) -> None:
        """Allow names the methods of every route of the path."""
        response = self.server.request("GET", "/test/json")
        self.assertEqual(response.status, 405)
        self.assertEqual(response.headers["allow"], "DELETE, OPTIONS, PUT")

    def test_options(self) -> None:
        """OPTIONS of a path is 204 with Allow, of no path 404."""
        response = self.server.request("OPTIONS", "/test/json")
        self.assertEqual((response.status, response.body), (204, b""))
        self.assertEqual(response.headers["allow"], "DELETE, OPTIONS, PUT")
        self.assertEqual(self.server.request("OPTIONS", "/nowhere").status, 404)


class Documents:
    """A feature whose routes are nested below the workspace that they belong to."""

    router = Router()

    @router.get("/<int:document_id>")
    def show(self, workspace_id: Id, document_id: Id, limit: int = 1) -> list[int]:
        return [workspace_id, document_id, limit]

    @router.route("/plain")
    def plain(self, request: Any, workspace_id: int) -> str:
        return str(workspace_id)


class PrefixParameterTests(AppTestCase):
    """Routers below a prefix with parameters, such as the workspace that a user may see."""

    prefix = "/w/<int:workspace_id>"

    def assertFromPathAlone(self, router: Router) -> None:
        app = self.app(router)
        for query in ("", "?workspace_id=77", "?workspace_id=77&workspace_id=%ff"):
            answer = app.request("GET", f"/test/w/3/7{query}", {"workspace_id": "77"})
            self.assertEqual((answer.status, answer.json), (200, [3, 7, 1]), query)
        self.assertEqual(app.request("GET", "/test/w/3/7?limit=4").json, [3, 7, 4])
        self.assertEqual(app.request("GET", "/test/w/3/plain?workspace_id=77").body, b"3")

    def test_nested(self) -> None:
        """A prefix's parameter comes from the path alone, whatever the query has."""
        self.assertFromPathAlone(Router().nest(self.prefix, Documents().router))

    def test_subroute(self) -> None:
        """So does a parameter of a subroute of Klein's."""
        router, nested = Router(), Router()
        with router.subroute(self.prefix):
            router.get("/<int:document_id>")(_document)
            router.route("/plain")(_plain)
        self.assertFromPathAlone(router)
        with nested.subroute("/w"):
            nested.nest("/<int:workspace_id>", Documents().router)
        self.assertFromPathAlone(nested)

    def test_path_of_one_route_alone(self) -> None:
        """Of two routes of one handler, the one with the parameter in its path reads it there."""
        router = Router()

        def number(number: int = 1) -> int:
            return number

        router.get("/x")(router.get("/y/<int:number>")(number))
        app = self.app(router)
        answers = [app.request("GET", f"/test/{path}?number=77").json for path in ("y/3", "x")]
        self.assertEqual(answers, [3, 77])

    def test_documented_in_the_path(self) -> None:
        """The parameter is documented as one of the path."""
        router = Router().nest(self.prefix, Documents().router)
        endpoint: Any = router.endpoints["w/<int:workspace_id>.show"]
        places = [(one.name, one.place) for one in endpoint.operation.parameters]
        self.assertEqual(
            places, [("workspace_id", "path"), ("document_id", "path"), ("limit", "query")]
        )

    def test_no_argument(self) -> None:
        """A handler that doesn't take the parameter is an error at once, which names both."""

        class Feature:
            typed, plain, elsewhere = Router(), Router(), Router()

            @typed.get("/typed")
            def show(self, limit: int = 1) -> int:
                return limit

            @plain.route("/plain")
            def plainly(self, request: Any) -> bytes:
                return b""

            @elsewhere.get("/elsewhere")
            def by_itself(self, workspace_id: Request) -> None: ...

        feature = Feature()
        for router in (feature.typed, feature.plain, feature.elsewhere):
            error = self.assertRaises(TypeError, Router().nest, self.prefix, router)
            self.assertIn("test_no_argument.<locals>.Feature.", str(error))
            self.assertIn(f"no parameter for workspace_id of its prefix {self.prefix}", str(error))

    def test_names_in_braces(self) -> None:
        """A name in braces is refused in a prefix, too."""
        error = self.assertRaises(ValueError, Router().nest, "/w/{workspace_id}", Router())
        self.assertIn("/w/<workspace_id>", str(error))


def _document(workspace_id: Id, document_id: Id, limit: int = 1) -> list[int]:
    return [workspace_id, document_id, limit]


def _plain(request: Any, workspace_id: int) -> str:
    return str(workspace_id)


class Note(Model):
    text: str


class DeclarationTests(SynchronousTestCase):
    def test_body_of_a_get(self) -> None:
        """A GET whose handler takes a body is refused where it is declared."""

        def show(self: object, note: Note) -> Note:
            return note

        error = self.assertRaises(TypeError, Router().get("/"), show)
        self.assertIn("a GET has no body for note: use POST", str(error))


class NestTests(SynchronousTestCase):
    def rules(self, router: Router) -> set[str]:
        return {rule.rule for rule in router.url_map.iter_rules()}

    def test_prefixes_add_up(self) -> None:
        """A router nested in a nested one is served below both prefixes."""
        inner, middle = Router(), Router()
        inner.route("/")(_handler)
        middle.nest("/b", inner)
        self.assertEqual(self.rules(Router().nest("/a", middle)), {"/a/b"})

    def test_same_feature_twice(self) -> None:
        """One feature can be nested under two prefixes, and keeps its own state in each."""

        class Counter:
            router = Router()

            def __init__(self, start: int) -> None:
                self.start = start

            @router.route("/")
            def value(self, request: Any) -> int:
                return self.start

        both = Router().nest("/one", Counter(1).router).nest("/two", Counter(2).router)
        request: Any = None
        values = [both.execute_endpoint(f"{name}.value", request) for name in ("one", "two")]
        self.assertEqual(values, [1, 2])

    def test_wrong_prefixes(self) -> None:
        """A prefix that isn't a path is refused, saying what one is like."""
        for prefix in ("", "/", "projects", "/projects/"):
            error = self.assertRaises(ValueError, Router().nest, prefix, Router())
            self.assertIn("/projects", str(error))

    def test_names_in_braces(self) -> None:
        """A name in braces, as others write it, is refused, saying how it is written here."""
        router = Router()
        for decorator in (router.route, router.get, router.post):
            for url in ("/{note_id}/x", "/{note_id:int}/x", "/<a>/{note_id}/x"):
                error = self.assertRaises(ValueError, decorator, url)
                self.assertIn("/<note_id>/x", str(error))
        router.route("/<any('{a}', b):name>")(_handler)

    def test_one_prefix(self) -> None:
        """Features may share a prefix, and their handlers may have the same names."""

        class One:
            router = Router()

            @router.route("/x")
            def show(self, request: Any) -> str:
                return "one"

        class Other:
            router = Router()

            @router.route("/y")
            def show(self, request: Any) -> str:
                return "other"

        both = Router().nest("/a", One().router).nest("/a", Other().router)
        self.assertEqual(self.rules(both), {"/a/x", "/a/y"})
        request: Any = None
        shown = [both.execute_endpoint(name, request) for name in ("a.show", "a.Other.show")]
        self.assertEqual(shown, ["one", "other"])

    def test_served_twice(self) -> None:
        """A path that is served already is refused, not shadowed, whatever its parameter is."""
        one, other = Router(), Router()
        one.route("/<int:number>", methods=["GET", "POST"])(_handler)
        other.route("/<int:item_id>", methods=["POST"])(_handler)
        outer = Router().nest("/a", one)
        error = self.assertRaises(ValueError, outer.nest, "/a", other)
        self.assertIn("POST /a/<int:item_id>: a._handler serves this route already", str(error))

    def test_nested_into_an_instance(self) -> None:
        """What is nested into an instance's router stays there, and is that instance's alone."""

        class Outer:
            router = Router()

            def __init__(self, inner: Router) -> None:
                self.router.nest("/inner", inner)

        inner = Router()
        inner.route("/x")(_handler)
        for _ in range(2):
            self.assertEqual(self.rules(Outer(inner).router), {"/inner/x"})
        self.assertEqual(self.rules(Outer.router), set())

    def test_error_handlers_are_refused(self) -> None:
        """A nested router with error handlers is refused, saying what to do instead."""
        router = Router()
        router.handle_errors(ValueError)(lambda request, failure: b"")
        error = self.assertRaises(ValueError, Router().nest, "/a", router)
        self.assertIn("error handlers", str(error))

    def test_several_routes_of_one_handler(self) -> None:
        """A handler with several routes has all of them where it is nested."""
        router = Router()
        router.route("/x")(router.route("/y/<int:number>")(_handler))
        self.assertEqual(self.rules(Router().nest("/a", router)), {"/a/x", "/a/y/<int:number>"})

    def test_branch(self) -> None:
        """A branch is nested with all that is below it."""
        router = Router()
        router.route("/x", branch=True)(_handler)
        self.assertEqual(self.rules(Router().nest("/a", router)), {"/a/x", "/a/x/<path:__rest__>"})

    def test_subroute(self) -> None:
        """A router can be nested within a subroute of Klein's."""
        router, outer = Router(), Router()
        router.route("/x")(_handler)
        with outer.subroute("/s"):
            outer.nest("/a", router)
        self.assertEqual(self.rules(outer), {"/s/a/x"})
        endpoint: Any = outer.endpoints["a._handler"]
        self.assertEqual(endpoint.segment_count, 3)

    def test_plain_klein(self) -> None:
        """A plain Klein application can be nested, too."""
        klein = Klein()
        klein.route("/x")(_handler)
        self.assertEqual(self.rules(Router().nest("/a", klein)), {"/a/x"})


def _handler(request: Any) -> bytes:
    return b""
