"""Both channels answer everything alike: two servers get the same bytes, in the same pieces."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Annotated, Any, NoReturn

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import deferLater
from twisted.web.http_headers import InvalidHeaderName
from werkzeug.exceptions import abort

from tests.http.heads import AMBIGUOUS, EVERY_BYTE, LIMITS, PLAIN, STRANGE, request
from tests.memory import AppTestCase
from x121.application import AppState
from x121.core.models import Model, Text
from x121.errors import AppError, Conflict, NotFound, ServiceUnavailable
from x121.http.channel import Channel, Phase
from x121.http.fast import FastChannel
from x121.http.request import Request
from x121.testing.app import App
from x121.testing.connection import Connection
from x121.web.operations import Header, Query, Response
from x121.web.router import Router

# What a client does: send bytes, or, in words, something else; or so many seconds pass.
Step = bytes | str | float

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


class Mirror:
    """Answers with all that a handler sees of its request."""

    router = Router()

    def __init__(self, state: AppState) -> None:
        self._clock = state.ws_manager.clock

    @router.route("/mirror", methods=METHODS)
    @router.route("/mirror/<path:rest>", methods=METHODS)
    def mirror(self, request: Request, rest: str = "") -> str:
        seen = {
            "line": (request.method, request.uri, request.path, request.clientproto),
            "segments": (request.prepath, request.postpath, rest),
            "args": request.args,
            "cookies": request.received_cookies,
            "fields": list(request.requestHeaders.getAllRawHeaders()),
            "body": request.content.read(),
            "remote": (request.remote, request.isSecure(), request.getHost(), request.client),
        }
        return repr(seen)

    @router.route("/later", methods=METHODS)
    async def later(self, request: Request) -> str:
        await deferLater(self._clock, 5)
        return self.mirror(request)


class Line(Model):
    """What a typed endpoint may get."""

    text: Text
    number: int = 0


class Odd(AppError):
    """An error with whatever a test says."""

    status = 409
    code = "ODD"


class BadStatus(AppError):
    """An error that can't be sent."""

    status = "none"  # type: ignore[assignment]


class Values:
    """Typed endpoints, which need no request of Twisted's."""

    router = Router()

    def __init__(self, state: AppState) -> None:
        self._clock = state.ws_manager.clock

    @router.get("/<int:number>", etag=True)
    def show(
        self,
        number: int,
        word: Annotated[list[Text], Query("word")] = [],  # noqa: B006
        language: Annotated[str, Header("Accept-Language")] = "en",
    ) -> Line:
        return Line(text=f"{word} {language}", number=number)

    @router.post("/", status=201)
    async def create(self, line: Line) -> Response[Line]:
        return Response(line, {"Location": "/values/1", "Vary": "Accept"})

    @router.put("/<int:number>")
    async def later(self, number: int, line: Line) -> None:
        await deferLater(self._clock, 5)

    @router.get("/later")
    async def show_later(self) -> list[int]:
        await deferLater(self._clock, 5)
        return [1]

    @router.get("/kinds/<kind>")
    async def fail(self, kind: str, size: int = 0, wait: bool = False) -> str:
        if wait:
            await deferLater(self._clock, 1)
        if kind == "large":
            return "x" * size
        if kind == "gone":
            abort(410)
        raise {
            "busy": ServiceUnavailable("busy"),
            "conflict": Conflict("it is there"),
            "problem": Odd("a page", headers={"Content-Type": "application/problem+json"}),
            "bad-header": Odd("no such name", headers={"X Bad": "v"}),
            "bad-details": Odd("no JSON", details=[b"bytes"]),  # type: ignore[list-item]
            "bad-status": BadStatus("no status"),
        }.get(kind, NotFound("There is no such kind"))

    @router.get("/missing", status=404)
    def missing(self) -> None: ...

    @router.get("/length")
    def show_length(self) -> Response[int]:
        return Response(1, {"Content-Length": "5"})

    @router.get("/failed")
    def failed(self) -> Deferred[int]:
        return fail(Odd("no such name", headers={"X Bad": "v"}))


def typed(line: bytes, *fields: bytes, body: bytes | None = None) -> bytes:
    """Return a request to a typed endpoint: ``line`` is its method and its path."""
    if body is not None:
        fields += b"Content-Type: application/json", b"Content-Length: %d" % len(body)
    method, path = line.split(b" ")
    return request(*fields, method=method, target=b"/test/values" + path, body=body or b"")


TYPED = [
    typed(b"GET /7"),
    typed(b"HEAD /7"),
    typed(b"GET /7?word=a&word=%F0%9F%98%80", b"Accept-Language: da", b"accept-language: en"),
    typed(b"GET /7?word=%00"),
    typed(b"GET /7", b"If-None-Match: *", b"Origin: http://localhost:5173"),
    typed(b"GET /7", b'If-Match: "a"'),
    typed(b"GET /7", b"Connection: close"),
    typed(b"GET /99999999999999999999"),
    typed(b"OPTIONS /7"),
    typed(b"PATCH /7"),
    typed(b"GET /later"),
    typed(b"GET /later", b"Connection: close", b"Origin: http://localhost:5173"),
    typed(b"GET /kinds/large?size=20000"),
    typed(b"GET /kinds/large?size=200000"),
    typed(b"HEAD /kinds/large?size=200000"),
    typed(b"GET /kinds/large?size=no"),
    *(
        typed(method + b" /kinds/" + kind + wait)
        for method in (b"GET", b"HEAD")
        for wait in (b"", b"?wait=true")
        for kind in (
            *(b"gone", b"busy", b"conflict", b"other", b"problem"),
            *(b"bad-header", b"bad-details", b"bad-status"),
        )
    ),
    typed(b"GET /missing"),
    typed(b"HEAD /missing"),
    typed(b"GET /length"),
    typed(b"HEAD /length"),
    typed(b"GET /failed"),
    typed(b"POST ", body=b'{"text":"a","number":1}'),
    typed(b"POST ", b"Origin: http://localhost:5173", body=b'{"text":"\xc3\xa9"}'),
    typed(b"POST ", b"Origin: http://elsewhere.test", body=b'{"text":"a"}'),
    typed(b"POST ", b"Sec-Fetch-Site: cross-site", body=b'{"text":"a"}'),
    typed(b"POST ", body=b'{"text":"a","more":1}'),
    typed(b"POST ", body=b"{"),
    typed(b"POST "),
    typed(b"PUT /7", body=b'{"text":"a"}'),
    typed(b"PUT /7", b"Expect: 100-continue", body=b'{"text":"a"}'),
    request(
        b"Transfer-Encoding: chunked",
        b"Content-Type: application/json",
        method=b"POST",
        target=b"/test/values",
        body=b'c\r\n{"text":"a"}\r\n0\r\n\r\n',
    ),
    request(target=b"/test/values/7", version=b"HTTP/1.0"),
    request(target=b"/test/values/7", version=b"HTTP/1.0", host=b""),
]
"""What clients of typed endpoints send, and some of what they shouldn't."""


def make_app(make_channel: type[Channel]) -> App:
    """Return a server with limits and proxies."""
    return App(
        lambda state: Mirror(state).router.nest("/values", Values(state).router),
        make_channel=make_channel,
        MAX_BODY_BYTES="10000",
        TRUSTED_PROXIES="10.0.0.0/8",
    )


class Pair:
    """A client of two servers that must do the same, to whom it does the same."""

    def __init__(self, case: AlikeTestCase, peer: str) -> None:
        self._case = case
        self._sides = [(app, app.connect(peer)) for app in case.apps]
        self._done: list[Step] = []

    def do(self, *steps: Step) -> None:
        """Do ``steps``, and compare what comes of each."""
        for step in steps:
            self._done.append(step)
            expected, found = (self._observe(step, *side) for side in self._sides)
            self._case.assertEqual(found, expected, self._done)

    def _observe(self, step: Step, app: App, connection: Connection) -> dict[str, Any]:
        """Do ``step`` on one side, and return what can be told of it."""
        for each in self._case.apps:  # a log has the lines of all servers
            each.log.clear()
        _do(step, app, connection)
        return _observed(app, connection)

    def close(self) -> None:
        """Disconnect, so that a difference is found once, and not in later examples too."""
        for app, connection in self._sides:
            if not connection.closed:
                connection.disconnect()
            app.clock.advance(0)

    def end(self) -> None:
        """See it to its end: answers that are awaited, deadlines, and the client's leaving."""
        self.do("resume", 5.0, 5.0, 0.0, 30.0, 80.0, "leave")


def _do(step: Step, app: App, connection: Connection) -> None:
    if isinstance(step, bytes):
        connection.send(step)
    elif isinstance(step, float):
        app.clock.advance(step)
    elif step == "leave":
        connection.disconnect()
    elif not connection.closed:
        {
            "pause": connection.channel.pauseProducing,
            "resume": connection.channel.resumeProducing,
            "half close": connection.channel.readConnectionLost,
        }[step]()
    app.clock.advance(0)


def _observed(app: App, connection: Connection) -> dict[str, Any]:
    """Take all that can be told of a server and a connection since the last time."""
    received = connection.received
    connection.transport.clear()
    deadlines = app.site.deadlines.items()
    channel = connection.channel
    return {
        "received": ID.sub(b"ID", received),
        "closed": (connection.closed, connection.transport.aborted),
        "reading": connection.transport.producerState,
        "log": [_without_ids(line) for line in app.log],
        "phase": channel.phase,
        "deadlines": [phase for phase, ends in deadlines if ends is not None and channel in ends],
        # A request whose body is incomplete may not exist yet.
        "requests": 0 if channel.phase is Phase.BODY else len(channel.requests),
        "open": app.site.connections,
    }


def _without_ids(line: dict[str, Any]) -> dict[str, Any]:
    """Return a log line without ids, its time, and the frames of a traceback."""
    if "traceback" in line:
        line = {**line, "traceback": line["traceback"].splitlines()[-1]}
    text = ID.sub(b"ID", json.dumps({**line, "timestamp": None}).encode())
    fields: dict[str, Any] = json.loads(text)
    return fields


class AlikeTestCase(AppTestCase):
    """A test with two servers."""

    def setUp(self) -> None:
        self.apps = [make_app(Channel), make_app(FastChannel)]
        for app in self.apps:
            self.addCleanup(app.close)

    def connect(self, peer: str = "10.0.0.1") -> Pair:
        """Return a new connection to both."""
        return Pair(self, peer)

    def alike(self, *steps: Step) -> None:
        """Assert that a connection on which ``steps`` are done looks the same on both."""
        pair = self.connect()
        try:
            pair.do(*steps)
            pair.end()
        finally:
            pair.close()
        self.flushLoggedErrors(InvalidHeaderName, TypeError)  # of errors that can't be sent
        self.assertEqual(self.flushLoggedErrors(), [])


def bytewise(data: bytes) -> list[bytes]:
    """Return ``data`` in pieces of one byte."""
    return [data[at : at + 1] for at in range(len(data))]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Return ``data`` cut at ``places``."""
    ends = sorted({place for place in places if 0 < place < len(data)} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


class CorpusTests(AlikeTestCase):
    """Requests that somebody thought of."""

    CORPUS = (*PLAIN, *TYPED, *AMBIGUOUS, *STRANGE)
    AFTER = request(b"X: after")

    def test_whole(self) -> None:
        """Each as one segment, alone, behind another request, and before one in a segment."""
        for data in (*self.CORPUS, *LIMITS):
            self.alike(data)
            self.alike(data, self.AFTER)
            self.alike(self.AFTER, data, self.AFTER)

    def test_with_more_behind(self) -> None:
        """Each with something behind it in the same segment, and then a request."""
        for data in self.CORPUS:
            for more in (
                self.AFTER, data, self.AFTER[:20], b"G", b"GET ", b"GET /", b"P", b"\r", b"\n",
                b"\r\n", b"\r\n\r\n", b"\0", b"garbage\r\n\r\n", b"0\r\n\r\n",
            ):  # fmt: skip
                self.alike(data + more, self.AFTER)
            self.alike(data + self.AFTER[:20], self.AFTER[20:])

    def test_bytewise(self) -> None:
        """Each byte by byte, and then whole."""
        for data in self.CORPUS:
            if len(data) < 1000:
                self.alike(*bytewise(data), data)

    def test_cut_once(self) -> None:
        """Each cut in two, at every place that is special."""
        for data in self.CORPUS:
            for place in {1, data.find(b"\r\n"), data.find(b"\r\n\r\n"), len(data) - 1}:
                for shift in (0, 1, 2, 4):
                    self.alike(*cut(data, [place + shift]))

    def test_every_byte(self) -> None:
        """Each byte in each kind of place, alone and with a request behind it."""
        for data in EVERY_BYTE:
            self.alike(data)
            self.alike(data + self.AFTER)

    def test_while_one_is_handled(self) -> None:
        """Each while the answer before is awaited, in one segment with it or not."""
        later = request(target=b"/test/later")
        for data in self.CORPUS:
            self.alike(later, data, 5.0)
            self.alike(later + data, 5.0)
            self.alike(later, "pause", data, 5.0, "resume", data)

    def test_strays_between_requests(self) -> None:
        """Empty lines between requests, in segments of their own or not."""
        for steps in (
            [b"\r\n", self.AFTER, b"\r\n", self.AFTER],
            [b"\r\n", self.AFTER, b"\r\n" + self.AFTER],
            [b"\r\n", b"\r\n", self.AFTER],
            [b"\r", b"\n", self.AFTER, b"\r", b"\n", self.AFTER],
            [b"\r\n", *bytewise(self.AFTER), b"\r\n", self.AFTER, b"\r\n\r\n"],
        ):
            self.alike(*steps)


NAMES = st.sampled_from(
    [b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Expect", b"Upgrade",
     b"Cookie", b"Origin", b"X-Request-Id", b"X-Forwarded-For", b"X", b"x", b"Access-Control"]
)  # fmt: skip
VALUES = st.sampled_from(
    [b"", b"a", b"5", b"0", b"12", b"chunked", b"close", b"keep-alive", b"100-continue", b"a=b",
     b"upgrade", b"websocket", b"http://localhost:5173", b"203.0.113.9", b"\xe9", b"identity"]
)  # fmt: skip
SPACES = st.sampled_from([b" ", b" ", b"", b"\t", b"  "])
ENDS = st.sampled_from([b"\r\n"] * 20 + [b"\n", b"\r", b"\r\n "])
METHOD = st.sampled_from([b"GET"] * 5 + [b"POST"] * 5 + [b"HEAD", b"OPTIONS", b"PURGE", b"X"])
TARGET = st.sampled_from(
    [
        *(b"/test/mirror", b"/test/mirror/%41?a=b&c", b"/test/later", b"/health", b"/no", b"*"),
        *(b"/test/values/7", b"/test/values/7?word=a", b"/test/values/later", b"/test/values"),
        *(b"/test/values/kinds/busy", b"/test/values/kinds/large?size=100000", b"/%"),
    ]
)
VERSION = st.sampled_from([b"HTTP/1.1"] * 10 + [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0"])
SEGMENT = st.sampled_from([b"\r\n", b"0\r\n\r\n", b"5\r\nabcde\r\n0\r\n\r\n", b"GET "])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Return what may be a request."""
    body = draw(st.sampled_from([b"", b"", b"12345"]) | st.binary(max_size=8) | SEGMENT)
    fields = [b"Host:" + draw(SPACES) + b"a" + draw(ENDS)]
    for name in draw(st.lists(NAMES, max_size=3)):
        fields.append(name + b":" + draw(SPACES) + draw(VALUES) + draw(SPACES) + draw(ENDS))
    if body and draw(st.booleans()):
        fields.append(b"Content-Length: %d\r\n" % len(body))
    line = draw(METHOD) + b" " + draw(TARGET) + b" " + draw(VERSION) + b"\r\n"
    return line + b"".join(draw(st.permutations(fields))) + b"\r\n" + body


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Return requests, with a few bytes wrong, cut in pieces."""
    pieces = draw(st.lists(requests(), min_size=1, max_size=3))
    data = bytearray(b"".join(pieces))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(data) - 1))
        data[at : at + draw(st.integers(0, 1))] = draw(st.binary(max_size=1))
    if draw(st.booleans()):
        places = [len(b"".join(pieces[:count])) for count in range(1, len(pieces))]
    else:
        places = draw(st.lists(st.integers(1, len(data) + 1), max_size=4))
    return cut(bytes(data), places)


OTHERS = st.sampled_from([5.0, "pause", "resume", "half close", 0.1])


class AnyRequestTests(AlikeTestCase):
    """Requests that nobody thought of."""

    @settings(max_examples=600, deadline=None)
    @given(streams())
    def test_any_stream(self, pieces: list[bytes]) -> None:
        """Requests cut at their ends or anywhere."""
        self.alike(*pieces)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(requests() | OTHERS | st.sampled_from(PLAIN + TYPED), max_size=12))
    def test_any_schedule(self, steps: list[Step]) -> None:
        """Requests, while time passes, answers are not taken, and the client stops sending."""
        self.alike(*steps)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 2), requests() | OTHERS | SEGMENT), max_size=12))
    def test_neighbours(self, steps: list[tuple[int, Step]]) -> None:
        """Nothing of one connection gets into another."""
        pairs = [self.connect(), self.connect("192.0.2.1"), self.connect()]
        try:
            for number, step in steps:
                pairs[number].do(step)
            for pair in pairs:
                pair.end()
        finally:
            for pair in pairs:
                pair.close()


class FailingCancellationTests(AppTestCase):
    """A handler whose cancellation fails."""

    router = Router()

    @router.get("/")
    def wait(self) -> Deferred[int]:
        def cancel(_: object) -> NoReturn:
            raise ValueError

        return Deferred(cancel)

    def test_failing_cancellation(self) -> None:
        """The failure is logged, and the request has one line, on both paths."""
        for make_channel in (Channel, FastChannel):
            app = self.enterContext(App(self.router, make_channel=make_channel))
            connection = app.connect()
            connection.send(request(target=b"/test"))
            connection.channel.readConnectionLost()
            connection.disconnect()
            self.assertEqual([line["status"] for line in app.lines("x121.access")], [499])
            self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class FastTests(AppTestCase):
    """The fast way is really taken."""

    def setUp(self) -> None:
        def fail(*_: object) -> NoReturn:
            raise AssertionError("Twisted's parser was asked")

        self.patch(Channel, "lineReceived", fail)
        self.server = make_app(FastChannel)
        self.addCleanup(self.server.close)

    def test_plain_requests(self) -> None:
        """What most clients send is not seen by Twisted's parser, on one connection or many."""
        kept = self.server.connect()
        for data in PLAIN:
            for connection in (kept, self.server.connect()):
                connection.send(data)
                self.server.clock.advance(5)
                status = connection.response(data.partition(b" ")[0].decode()).status
                self.assertIn(status, (200, 204, 404), data)

    def test_behind_one_that_is_handled(self) -> None:
        """Neither is one that came while the answer before it was awaited."""
        connection = self.server.connect()
        connection.send(request(target=b"/test/later"))
        connection.send(request(target=b"/health"))
        self.assertEqual(connection.received, b"")
        self.server.clock.advance(5)
        self.assertEqual([connection.response().status for _ in range(2)], [200, 200])

    def test_parts_are_not(self) -> None:
        """A part of a request is."""
        self.assertRaises(AssertionError, self.server.connect().send, request() + request())
