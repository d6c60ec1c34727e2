"""The OpenAPI document, of a small feature that declares a bit of everything."""

from __future__ import annotations

import enum
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Annotated, Any, ClassVar

import jsonschema  # type: ignore[import-untyped]
from klein import Klein
from openapi_spec_validator import validate
from pydantic import Field
from twisted.trial.unittest import SynchronousTestCase

from tests.memory import AppTestCase
from x121 import errors
from x121.builtin.docs.openapi import make_openapi
from x121.builtin.docs.schemas import Schemas, Use
from x121.core import json_encoding
from x121.core.models import Id, Model, Text, optional
from x121.errors import AppError, Conflict, Forbidden, NotFound, PreconditionFailed, Unauthorized
from x121.web.etags import ANY_VERSION, IfMatch
from x121.web.operations import Body, Header, Query, Response
from x121.web.router import Router

ANYWHERE = {
    "400": "BadRequest",
    "408": "RequestTimeout",
    "413": "PayloadTooLarge",
    "414": "UriTooLong",
    "421": "MisdirectedRequest",
    "431": "HeadersTooLarge",
    "500": "InternalErrorOrPanic",
    "503": "ServiceUnavailable",
}
OF_WRITES = {**ANYWHERE, "403": "Forbidden"}
TEXT = {"type": "string", "pattern": "^[^\\x00]*$", "examples": ["Some text"]}
REQUEST_ID = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class NewToy(Model):
    """A toy to be."""

    name: Text
    """What it is called"""

    colour: Colour = Colour.RED


class Toy(NewToy):
    """A toy."""

    id: Id


class ToyChange(Model):
    name: Text = optional()


class Broken(AppError):
    """It broke; nobody knows how."""

    status = 410
    code = "BROKEN"
    documented_headers: ClassVar = {"X-Pieces": "How many pieces"}
    documented_members: ClassVar = {"pieces": int}


class OutOfStock(Conflict):
    """There is none left."""

    code = "OUT_OF_STOCK"


class Left:
    class Error(Model):
        value: int

    class Odd(AppError):
        """Odd."""

        status = 410


class Right:
    class Error(Model):
        value: str

    class Odd(AppError):
        """Odd."""

        status = 411


class ToyShop:
    """Toys, see :class:`~tests.builtin.docs.Toy`.

    Nobody pays.
    """

    router = Router()

    @router.get("/")
    def search(
        self,
        words: Annotated[list[Text], Query("word")],
        limit: Annotated[int, Field(ge=1, le=100, description="At most")] = 20,
        colour: Colour | None = None,
        language: Annotated[str, Header("Accept-Language")] = "en",
        since: datetime = datetime(2020, 1, 1),  # noqa: DTZ001
    ) -> list[Toy]:
        """Finds toys, such as `balls`.

        Raises :class:`NotFound` never.
        """
        raise NotImplementedError

    @router.post(
        "/", status=201, headers={"Location": "Where it is"}, errors=[Conflict, OutOfStock]
    )
    async def create(self, new: NewToy) -> Response[Toy]:
        raise NotImplementedError

    @router.get("/<int:toy_id>", etag=True, errors=[NotFound, Unauthorized, Broken])
    def show(self, toy_id: Id) -> Toy:
        raise NotImplementedError

    @router.patch("/<int:toy_id>", etag=True, errors=[PreconditionFailed], deprecated=True)
    def change(self, toy_id: int, change: ToyChange, versions: IfMatch = ANY_VERSION) -> Toy:
        raise NotImplementedError

    @router.delete("/<int:toy_id>")
    def remove(self, toy_id: Id) -> None:
        raise NotImplementedError

    @router.put("/<int:toy_id>/parts")
    def replace(self, toy_id: Id, parts: Annotated[list[Text], Body]) -> None:
        raise NotImplementedError

    @router.route("/plain/<name>/<float:size>/<uuid:key>/<any(x, y):kind>", methods=["GET", "POST"])
    def plain(self, request: Any, **path: Any) -> bytes:
        raise NotImplementedError

    @router.route("/counted", result=dict[str, int], status=202, errors=[Forbidden])
    def counted(self, request: Any) -> bytes:
        """Counts."""
        raise NotImplementedError

    @router.route("/secret", is_documented=False)
    def secret(self, request: Any) -> bytes:
        raise NotImplementedError


def shop() -> Router:
    """Return the toy shop's routes, anew."""
    return Router().nest("/toys", ToyShop().router)


def make(router: Router) -> dict[str, Any]:
    """Return a router's document, as it is sent, when it is valid and all in it can be found."""
    document: dict[str, Any] = json.loads(
        json_encoding.encode(make_openapi(router, title="T", version="1"))
    )
    validate(document)
    for reference in references(document):
        resolve(document, reference)
    return document


def references(value: Any) -> Iterator[str]:
    """Yield every ``$ref`` in ``value``."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for child in value.values():
            yield from references(child)
    elif isinstance(value, list):
        for child in value:
            yield from references(child)


def resolve(document: Any, reference: str) -> Any:
    """Return what a reference names."""
    for step in reference.removeprefix("#/").split("/"):
        document = document[step]
    return document


class DocumentCase(SynchronousTestCase):
    """Tests that read the toy shop's document."""

    maxDiff = None

    def setUp(self) -> None:
        self.document = make(shop())

    def operation(self, method: str, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self.document["paths"][f"/toys{path}"][method]
        return found

    def response(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.document["components"]["responses"][name]
        return found


class OperationTests(DocumentCase):
    def test_paths(self) -> None:
        """Every endpoint is there, in the order of its class, but for one that isn't documented."""
        found = [(path, *methods) for path, methods in self.document["paths"].items()]
        self.assertEqual(
            found,
            [
                ("/toys", "get", "post"),
                ("/toys/{toy_id}", "get", "patch", "delete"),
                ("/toys/{toy_id}/parts", "put"),
                ("/toys/plain/{name}/{size}/{key}/{kind}", "get", "post"),
                ("/toys/counted", "get"),
            ],
        )

    def test_words(self) -> None:
        """What a docstring says is the summary and, below its first paragraph, the description."""
        search = self.operation("get", "")
        self.assertEqual(search["summary"], "Finds toys, such as balls.")
        self.assertEqual(search["description"], "Raises `NotFound` never.")
        self.assertNotIn("summary", self.operation("delete", "/{toy_id}"))

    def test_tags(self) -> None:
        """A feature is a tag, and its docstring what is said of it."""
        text = "Toys, see `Toy`.\n\nNobody pays."
        self.assertEqual(self.document["tags"], [{"name": "ToyShop", "description": text}])
        self.assertEqual(self.operation("get", "")["tags"], ["ToyShop"])

    def test_ids(self) -> None:
        """Ids are made of the feature's and the handler's name, and of the method if need be."""
        ids = [o["operationId"] for p in self.document["paths"].values() for o in p.values()]
        self.assertEqual(
            ids,
            [
                "toy_shop_search",
                "toy_shop_create",
                "toy_shop_show",
                "toy_shop_change",
                "toy_shop_remove",
                "toy_shop_replace",
                "toy_shop_plain",
                "toy_shop_plain_post",
                "toy_shop_counted",
            ],
        )

    def test_deprecated(self) -> None:
        """What is deprecated says so, and nothing else does."""
        self.assertIs(self.operation("patch", "/{toy_id}")["deprecated"], True)
        self.assertNotIn("deprecated", self.operation("get", "/{toy_id}"))

    def test_parameters(self) -> None:
        """Names, places and defaults are those outside; what has no form in JSON isn't told."""
        self.assertEqual(
            self.operation("get", "")["parameters"],
            [
                {
                    "name": "word",
                    "in": "query",
                    "required": True,
                    "schema": {
                        "type": "array",
                        "items": TEXT,
                    },
                },
                {
                    "name": "limit",
                    "in": "query",
                    "description": "At most",
                    "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
                },
                {
                    "name": "colour",
                    "in": "query",
                    "schema": {"$ref": "#/components/schemas/Colour"},
                },
                {
                    "name": "Accept-Language",
                    "in": "header",
                    "schema": {"type": "string", "default": "en"},
                },
                {
                    "name": "since",
                    "in": "query",
                    "schema": {"type": "string", "format": "date-time"},
                },
            ],
        )

    def test_path_parameters(self) -> None:
        """One in the path is what its type says, and its converter where that says no more."""
        biggest = 2**63 - 1
        schema = {"type": "integer", "format": "int64", "maximum": biggest}
        for method, least in (("get", 1), ("patch", 0)):
            self.assertEqual(
                self.operation(method, "/{toy_id}")["parameters"][0],
                {
                    "name": "toy_id",
                    "in": "path",
                    "required": True,
                    "schema": {**schema, "minimum": least},
                },
            )
        plain = self.operation("get", "/plain/{name}/{size}/{key}/{kind}")["parameters"]
        self.assertEqual(
            [(one["name"], one["in"], one["required"], one["schema"]) for one in plain],
            [
                ("name", "path", True, {"type": "string", "pattern": "^[^/]{1,}$"}),
                ("size", "path", True, {"type": "number", "minimum": 0}),
                ("key", "path", True, {"type": "string", "format": "uuid"}),
                ("kind", "path", True, {"type": "string", "enum": ["x", "y"]}),
            ],
        )

    def test_versions(self) -> None:
        """With a tag GET takes both conditions, and may be 304 or 412; a change takes them, too."""
        show = self.operation("get", "/{toy_id}")
        self.assertEqual(
            show["parameters"][1:],
            [
                {"$ref": "#/components/parameters/If-Match"},
                {"$ref": "#/components/parameters/If-None-Match"},
            ],
        )
        self.assertIn("412", show["responses"])
        self.assertEqual(show["responses"]["304"], {"$ref": "#/components/responses/NotModified"})
        tag = {"ETag": {"$ref": "#/components/headers/ETag"}}
        self.assertEqual(show["responses"]["200"]["headers"], {**REQUEST_ID, **tag})
        self.assertEqual(self.response("NotModified")["headers"], {**REQUEST_ID, **tag})
        change = self.operation("patch", "/{toy_id}")
        names = [one["name"] for one in change["parameters"][1:]]
        self.assertEqual(names, ["If-Match", "If-None-Match"])
        self.assertNotIn("default", change["parameters"][1]["schema"])
        self.assertNotIn("304", change["responses"])
        self.assertEqual(change["responses"]["200"]["headers"], {**REQUEST_ID, **tag})

    def test_bodies(self) -> None:
        """A body is required, and JSON: a model, or what is marked as one."""
        create = self.operation("post", "")["requestBody"]
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/NewToy"}}}
        self.assertEqual(create, {"required": True, "content": content})
        parts = self.operation("put", "/{toy_id}/parts")["requestBody"]
        self.assertEqual(parts["content"]["application/json"]["schema"]["type"], "array")
        self.assertNotIn("requestBody", self.operation("delete", "/{toy_id}"))

    def test_optional_body(self) -> None:
        """A body with a default may be left out."""
        router = Router()

        @router.post("/")
        def create(numbers: Annotated[list[int] | None, Body()] = None) -> None: ...

        operation = make_openapi(router, title="", version="")["paths"]["/"]["post"]
        self.assertIs(operation["requestBody"]["required"], False)

    def test_list_in_a_header(self) -> None:
        """A header that is a list is an array, in the style that headers have by default."""
        router = Router()

        @router.get("/")
        def index(tags: Annotated[list[str], Header("X-Tag")]) -> None: ...

        (parameter,) = make_openapi(router, title="", version="")["paths"]["/"]["get"]["parameters"]
        schema = {"type": "array", "items": {"type": "string"}}
        self.assertEqual(
            parameter, {"name": "X-Tag", "in": "header", "required": True, "schema": schema}
        )

    def test_prefix(self) -> None:
        """A parameter of a prefix is one of the path, and of its handler's type."""
        inner = Router()

        @inner.get("/")
        def index(team_id: Id) -> None: ...

        router = Router().nest("/teams/<int:team_id>", inner)
        document = make_openapi(router, title="", version="")
        (parameter,) = document["paths"]["/teams/{team_id}"]["get"]["parameters"]
        self.assertEqual((parameter["in"], parameter["schema"]["minimum"]), ("path", 1))


class ResponseTests(DocumentCase):
    def names(self, method: str, path: str) -> dict[str, str]:
        """Return the components of an operation's errors, by status."""
        responses = self.operation(method, path)["responses"].items()
        return {s: r["$ref"].rpartition("/")[2] for s, r in responses if "$ref" in r}

    def test_results(self) -> None:
        """A result has its status, type and headers; none has no content."""
        create = self.operation("post", "")["responses"]["201"]
        self.assertEqual(
            create,
            {
                "description": "Created",
                "headers": {
                    "Location": {"description": "Where it is", "schema": {"type": "string"}},
                    **REQUEST_ID,
                },
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Toy"}}},
            },
        )
        remove = self.operation("delete", "/{toy_id}")["responses"]["204"]
        self.assertEqual(remove, {"description": "No Content", "headers": REQUEST_ID})

    def test_plain_handlers(self) -> None:
        """Of a handler that answers by itself is told what it declares, and no more."""
        counted = self.operation("get", "/counted")["responses"]
        self.assertEqual(
            counted["202"]["content"]["application/json"]["schema"],
            {"type": "object", "additionalProperties": {"type": "integer"}},
        )
        self.assertEqual(self.names("get", "/counted"), {**ANYWHERE, "403": "Forbidden"})
        plain = self.operation("post", "/plain/{name}/{size}/{key}/{kind}")["responses"]
        self.assertEqual(plain["200"], {"description": "OK", "headers": REQUEST_ID})

    def test_errors_of_every_endpoint(self) -> None:
        """What every endpoint may be answered with stands at each one."""
        self.assertEqual(self.names("get", ""), ANYWHERE)

    def test_errors_by_inputs(self) -> None:
        """A write may be 403, one with parameters in its path 404, one with a body 415."""
        expected = {**OF_WRITES, "404": "NotFound", "415": "UnsupportedMediaType"}
        self.assertEqual(self.names("put", "/{toy_id}/parts"), expected)

    def test_declared_errors(self) -> None:
        """What a handler declares stands at it, and kinds of one status together."""
        self.assertEqual(
            self.names("post", ""),
            {**OF_WRITES, "409": "ConflictOrOutOfStock", "415": "UnsupportedMediaType"},
        )

    def test_in_order(self) -> None:
        """Responses stand in the order of their status."""
        for path in self.document["paths"].values():
            for operation in path.values():
                statuses = list(operation["responses"])
                self.assertEqual(statuses, sorted(statuses))

    def test_error(self) -> None:
        """An error has the contract's form, its code, and the first sentence of its docstring."""
        self.assertEqual(
            self.response("NotFound"),
            {
                "description": "The resource does not exist.",
                "headers": REQUEST_ID,
                "content": {
                    "application/json": {
                        "schema": {
                            "allOf": [
                                {"$ref": "#/components/schemas/Error"},
                                {"properties": {"code": {"const": "NOT_FOUND"}}},
                            ]
                        }
                    }
                },
            },
        )

    def test_merged_errors(self) -> None:
        """Kinds of one status are told apart by their codes."""
        both = self.response("ConflictOrOutOfStock")
        self.assertEqual(
            both["description"],
            "`CONFLICT`: The request conflicts with stored data, or with a concurrent request.\n\n"
            "`OUT_OF_STOCK`: There is none left.",
        )
        special = both["content"]["application/json"]["schema"]["allOf"][1]
        self.assertEqual(special["properties"]["code"], {"enum": ["CONFLICT", "OUT_OF_STOCK"]})

    def test_headers_of_errors(self) -> None:
        """Headers that a kind always has are told."""
        for name, header in (
            ("Unauthorized", "WWW-Authenticate"),
            ("ServiceUnavailable", "Retry-After"),
            ("Broken", "X-Pieces"),
        ):
            self.assertIs(self.response(name)["headers"][header]["required"], True)

    def test_members_of_errors(self) -> None:
        """Members of the body besides the contract's are told."""
        special = self.response("Broken")["content"]["application/json"]["schema"]["allOf"][1]
        self.assertEqual(special["required"], ["pieces"])
        self.assertEqual(special["properties"]["pieces"], {"type": "integer"})


class SchemaTests(DocumentCase):
    def test_model(self) -> None:
        """A model is a component, with what its docstrings say, and nothing that they don't."""
        self.assertEqual(
            self.document["components"]["schemas"]["NewToy"],
            {
                "title": "NewToy",
                "type": "object",
                "description": "A toy to be.",
                "properties": {
                    "name": {**TEXT, "description": "What it is called"},
                    "colour": {"$ref": "#/components/schemas/Colour", "default": "red"},
                },
                "required": ["name"],
                "additionalProperties": False,
            },
        )

    def test_examples(self) -> None:
        """The example of text is no longer than it may be, and there is none if it is too short."""
        short, long = Annotated[Text, Field(max_length=4)], Annotated[Text, Field(min_length=10)]
        schemas = Schemas([Use("", short, "validation"), Use("", long, "validation")])
        self.assertEqual(schemas.of(short, "validation")["examples"], ["Some"])
        self.assertNotIn("examples", schemas.of(long, "validation"))

    def test_error_form(self) -> None:
        """What errors answer with is what is said of them, for every kind that there is."""
        schemas = {"$defs": self.document["components"]["schemas"]}
        whole = json.dumps({**schemas, "$ref": "#/$defs/Error"})
        schema = json.loads(whole.replace("#/components/schemas/", "#/$defs/"))
        wrong = [errors.FieldError(path="items[2].name", message="Too short")]
        for error in (
            errors.BadRequest("No", details=wrong),
            errors.Unauthorized("No"),
            errors.Panic("No"),
            errors.ServiceUnavailable("No"),
        ):
            jsonschema.validate(json.loads(json_encoding.encode(error.body())), schema)
        with self.assertRaises(jsonschema.ValidationError):
            jsonschema.validate({"error": "No"}, schema)


class ManyRoutersTests(SynchronousTestCase):
    """What more than one feature has to do with another."""

    def test_same_names(self) -> None:
        """Models, features and kinds of one name are kept apart."""

        def make_feature(model: Any, kind: type[AppError]) -> Router:
            class Same:
                router = Router()

                def make(self, new: Any) -> Any: ...

                make.__annotations__.update({"new": model, "return": model})
                router.post("/", errors=[kind])(make)

            router: Router = Same().router
            return router

        document = make(
            Router()
            .nest("/a", make_feature(Left.Error, Left.Odd))
            .nest("/b", make_feature(Right.Error, Right.Odd))
        )
        a, b = (document["paths"][path]["post"] for path in ("/a", "/b"))
        self.assertEqual([a["operationId"], b["operationId"]], ["same_make", "same_make_post"])
        types = []
        for one in (a, b):
            schema = one["requestBody"]["content"]["application/json"]["schema"]
            types.append(resolve(document, schema["$ref"])["properties"]["value"]["type"])
        self.assertEqual(types, ["integer", "string"])
        self.assertNotEqual(a["responses"]["410"], b["responses"]["411"])
        self.assertNotIn("Error", document["components"]["schemas"])

    def test_own_tag(self) -> None:
        """A feature may say what its tag is; several may have the same one."""

        def make_feature() -> Router:
            class Feature:
                tag = "All of them"
                router = Router()

                @router.get("/")
                def index(self) -> None: ...

            router: Router = Feature().router
            return router

        document = make(Router().nest("/a", make_feature()).nest("/b", make_feature()))
        self.assertEqual(document["tags"], [{"name": "All of them"}])

    def test_functions(self) -> None:
        """A handler that belongs to no feature has no tag; a plain Klein application isn't told."""
        router, klein = Router(), Klein()

        @router.get("/f")
        def index() -> None: ...

        @klein.route("/k")
        def hidden(request: Any) -> bytes:
            return b""

        document = make(Router().nest("/a", router).nest("/b", klein))
        self.assertEqual(list(document["paths"]), ["/a/f"])
        self.assertNotIn("tags", document["paths"]["/a/f"]["get"])
        self.assertEqual(document["paths"]["/a/f"]["get"]["operationId"], "index")

    def test_escaping(self) -> None:
        """A path is written as it is asked for: what isn't a parameter is percent-encoded."""
        router = Router()

        @router.get("/ü/{x} y/<path:rest>")
        def index(rest: str) -> None: ...

        self.assertEqual(list(make(router)["paths"]), ["/%C3%BC/%7Bx%7D%20y/{rest}"])

    def test_same_bytes(self) -> None:
        """The same endpoints give the same bytes in any process: no order is left to chance."""
        code = (
            "from tests.builtin.docs import test_openapi as t;"
            "print(t.json_encoding.encode(t.make(t.shop())))"
        )
        documents = {
            subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, "PYTHONHASHSEED": seed},
                capture_output=True,
                check=True,
            ).stdout
            for seed in ("1", "2")
        }
        self.assertEqual(len(documents), 1)

    def test_no_schema(self) -> None:
        """A type that has no JSON Schema is named, and where it is used."""

        class Feature:
            router = Router()

            @router.get("/")
            def index(self, call: Callable[[], int]) -> None: ...

        with self.assertRaisesRegex(TypeError, r"Feature\.index: call: .*Callable"):
            make(Router().nest("/a", Feature().router))


class HealthTests(AppTestCase):
    def test_health(self) -> None:
        """The health routes say what they answer, and why the server may not be ready."""
        document = self.app().request("GET", "/openapi.json").json
        for path in ("/health", "/health/live", "/health/ready"):
            content = document["paths"][path]["get"]["responses"]["200"]["content"]
            self.assertEqual(
                content["application/json"]["schema"], {"$ref": "#/components/schemas/Status"}
            )
        not_ready = document["paths"]["/health/ready"]["get"]["responses"]["503"]
        schema = resolve(document, not_ready["$ref"])["content"]["application/json"]["schema"]
        self.assertEqual(
            schema["allOf"][1]["properties"]["status"]["enum"],
            ["starting", "draining", "unreachable", "read-only", "unready"],
        )
