"""Messages whose handlers say what they take and give, as clients see them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Coroutine
from datetime import date
from typing import Annotated, Any, NoReturn, assert_type

from pydantic import Field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.ws.client import WebSocket, WebSocketTestCase
from x121.application import AppState
from x121.core.models import Model
from x121.messaging.handler import make_handler
from x121.messaging.handlers import Handlers, Message
from x121.testing.frames import TEXT


class Said(Model):
    text: str = Field(max_length=5)
    day: date


class Heard(Model):
    length: int


class Feature:
    messages = Handlers()

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.waiting: Deferred[Any] = Deferred()

    @messages.on("say")
    async def say(self, message: Message[Said]) -> Heard:
        assert_type(message.data, Said)
        self.taken.append(message.data)
        return Heard(length=len(message.data.text))

    @messages.on("now")
    def now(self, message: Message[list[int]]) -> int:
        return sum(message.data)

    @messages.on("wait")
    def wait(self, message: Message) -> Deferred[Heard]:
        assert_type(message.data, Any)
        return self.waiting

    @messages.on("broken")
    async def broken(self, message: Message[Any]) -> Heard:
        return Heard.model_construct(length="hunter2")

    @messages.on("unawaited")
    async def unawaited(self, message: Message[bool]) -> Any:
        return self.nothing(message)  # type: ignore[arg-type]

    @messages.on("unawaited-typed")
    async def unawaited_typed(self, message: Message[Any]) -> Heard:
        return self.nothing(message)  # type: ignore[return-value]

    @messages.on("nothing")
    async def nothing(self, message: Message[None]) -> None: ...

    @messages.on("maybe")
    def maybe(self, message: Message[int | None]) -> object:
        assert_type(message.data, int | None)
        return {"got": message.data}


class TypedTests(WebSocketTestCase):
    feature: Feature

    def client(self) -> WebSocket:
        """Return a client of the feature."""

        def make(_: AppState) -> Handlers:
            self.feature = Feature()
            return self.feature.messages

        self.server = self.serve(make)
        return self.connect(self.server, "/test")

    def test_in_and_out(self) -> None:
        """The handler gets a model, and the client the reply's."""
        client = self.client()
        client.send_message("say", 1, {"text": "hello", "day": "2026-01-02"})
        self.assertEqual(client.messages(), [{"type": "reply", "id": 1, "data": {"length": 5}}])
        self.assertEqual(self.feature.taken, [Said(text="hello", day=date(2026, 1, 2))])

    def test_invalid(self) -> None:
        """Every wrong field is told, and the handler isn't called."""
        client = self.client()
        client.send_message("say", 1, {"text": "too long", "day": 7, "more": 1})
        (answer,) = client.messages()
        self.assertEqual(
            (answer["type"], answer["id"], answer["code"]), ("error", 1, "BAD_REQUEST")
        )
        self.assertEqual([one["path"] for one in answer["details"]], ["text", "day", "more"])
        wrong: Any
        for wrong in (None, [], "x", 7):
            client.send_message("say", 2, wrong)
            self.assertEqual(client.messages()[0]["details"][0]["path"], "")
        client.send(TEXT, b'{"type": "say"}')
        self.assertEqual(client.messages()[0]["code"], "BAD_REQUEST")
        self.assertEqual((self.feature.taken, self.server.lines("x121.errors")), ([], []))

    def test_plain_types(self) -> None:
        """Types that are no models are checked and sent as well."""
        client = self.client()
        client.send_message("now", 1, [1, 2])
        client.send_message("nothing", 2)
        client.send_message("maybe", 3)
        client.send_message("maybe", 4, 7)
        answers = [answer["data"] for answer in client.messages()]
        self.assertEqual(answers, [3, None, {"got": None}, {"got": 7}])
        client.send_message("now", 5, [1, "x"])
        self.assertEqual(client.messages()[0]["details"][0]["path"], "[1]")
        client.send_message("nothing", 6, 7)
        self.assertEqual(client.messages()[0]["code"], "BAD_REQUEST")

    def test_later(self) -> None:
        """A reply that takes its time is checked, too."""
        client = self.client()
        client.send_message("wait", 1)
        self.feature.waiting.callback(Heard(length=1))
        self.assertEqual(client.messages()[0]["data"], {"length": 1})
        self.feature.waiting = Deferred()
        client.send_message("wait", 2)
        self.feature.waiting.callback({"length": "x"})
        self.assertEqual(client.messages()[0]["code"], "INTERNAL_ERROR")
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_unawaited(self) -> None:
        """A handler that forgot to await is told so in the log, by its name."""
        client = self.client()
        for message_type, name in (
            ("unawaited", "unawaited"),
            ("unawaited-typed", "unawaited_typed"),
        ):
            self.server.log.clear()
            client.send_message(message_type, 1, True)
            self.assertEqual(client.messages()[0]["code"], "INTERNAL_ERROR")
            (line,) = self.server.lines("x121.errors")
            self.assertIn(f"Feature.{name} returned is a coroutine: write await", line["message"])
            self.flushLoggedErrors()

    def test_broken_reply(self) -> None:
        """A reply that isn't what its handler says is our fault: logged, and not sent."""
        client = self.client()
        client.send_message("broken", 1)
        error = {"error": "Internal server error", "code": "INTERNAL_ERROR"}
        self.assertEqual(client.messages(), [{"type": "error", "id": 1, **error}])
        (line,) = self.server.lines("x121.errors")
        self.assertIn("Feature.broken returned is not valid: length: ", line["message"])
        self.assertNotIn("hunter2", str(line))
        self.flushLoggedErrors()
        client.send_message("now", 2, [1])
        self.assertEqual(client.messages()[0]["data"], 1)


async def stream(message: Message) -> AsyncIterator[int]:
    yield 1


def untyped(message): ...  # type: ignore[no-untyped-def]
def plain(message: Message) -> Any: ...
def anything(_: object) -> object: ...
def never(message: Message[Any]) -> NoReturn:
    raise NotImplementedError


def bare(message: Message) -> Deferred:  # type: ignore[type-arg]
    raise NotImplementedError


def deferred(message: Message[int]) -> Deferred[Heard]:
    raise NotImplementedError


def awaitable(message: Message[int]) -> Awaitable[Heard]:
    raise NotImplementedError


def coroutine(message: Message[int]) -> Coroutine[Any, Any, Heard]:
    raise NotImplementedError


def annotated(message: Message[Annotated[int, Field(gt=5)]]) -> None: ...
def no_message() -> None: ...
def other(message: str) -> None: ...
def unknown(message: Message[Missing]) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def unfit(message: Message[WebSocket]) -> None: ...
def unfit_result(message: Message) -> WebSocket:
    raise NotImplementedError


class SignatureTests(SynchronousTestCase):
    def test_anything(self) -> None:
        """A signature that says nothing has nothing checked."""
        for function in (untyped, plain, anything, never, bare, print, lambda message: message):
            handler = make_handler("x", function)
            self.assertEqual((handler.data_type, handler.reply_type), (None, None))

    def test_results(self) -> None:
        """What is waited for is looked into."""
        for function in (deferred, awaitable, coroutine):
            handler = make_handler("x", function)
            assert handler.reply_type is not None
            self.assertEqual(handler.reply_type.write(Heard(length=1)), b'{"length":1}')

    def test_annotated(self) -> None:
        """A type's constraints are kept."""
        handler = make_handler("x", annotated)
        assert handler.data_type is not None
        self.assertEqual([handler.data_type.takes(number) for number in (5, 6)], [False, True])

    def test_async_generator(self) -> None:
        """An async generator can't answer: it is refused at once."""
        error = self.assertRaises(TypeError, make_handler, "x", stream)
        self.assertIn("stream: it is an async generator: return a list", str(error))

    def test_unclear(self) -> None:
        """What can't be understood is an error that names the handler, and what would be right."""
        for function, right in (
            (no_message, "has no parameter for the message"),
            (other, "its parameter is <class 'str'> (expected Message"),
            (unknown, "'Missing' is not defined: import or define"),
            (unfit, "expected a Model"),
            (unfit_result, "expected a Model"),
        ):
            error = self.assertRaises(TypeError, make_handler, "x", function)
            self.assertIn(right, str(error))
            self.assertIn(f"test_typed_messages.{function.__name__}", str(error))

    def test_where_it_is_registered(self) -> None:
        """It is an error at once, not when a message comes."""
        self.assertRaises(TypeError, Handlers().on("x"), other)
