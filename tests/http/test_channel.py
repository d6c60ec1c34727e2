"""One connection: limits in size and time, refusals, and what Twisted's parser leaves open."""

from __future__ import annotations

import io
import tempfile
import time
import weakref

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import deferLater
from twisted.web.http_headers import _nameEncoder

from tests.memory import AppTestCase
from x121.application import AppState
from x121.http.intake import SHARE
from x121.http.request import Request
from x121.testing.app import App
from x121.testing.connection import Connection
from x121.web.router import Router

GET = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"


class Echo:
    router = Router()

    @router.route("/echo", methods=["POST"])
    def echo(self, request: Request) -> bytes:
        body: bytes = request.content.read()
        return body


class RefusalTests(AppTestCase):
    """RFC 9112, as far as it can be checked once the head has been read."""

    def refused(self, head: bytes, *, status: int = 400, code: str = "BAD_REQUEST") -> None:
        app = self.app()
        connection = app.connect()
        connection.send(head)
        response = connection.response("GET")
        self.assertEqual((response.status, response.json["code"]), (status, code), head)
        self.assertEqual(response.headers["content-type"], "application/json")
        self.assertEqual(response.headers["connection"], "close")
        self.assertIn("date", response.headers)
        self.assertTrue(connection.closed)
        # Nothing that comes after is taken for a request.
        connection.send(GET)
        self.assertEqual(connection.received, b"")
        self.assertEqual(len(app.lines("x121.access")), 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_request_line(self) -> None:
        """A malformed request line is 400 in the contract's form, and the connection closes."""
        for line in (
            b"GARBAGE", b"GET", b"GET /health", b"GET  /health HTTP/1.1", b"GET /health HTTP/2.0",
            b"GET /health HTTP/1.1 x", b"G\x00T /health HTTP/1.1", b"GET /he\x01alth HTTP/1.1",
            b"GET /health HTTP/11", b"GET /health http/1.1", b"A" * 70, b"\x16\x03\x01\x02\x00\x01",
            b"PRI * HTTP/2.0", b"GET /\xff HTTP/1.1", b"GET /health\tHTTP/1.1",
        ):  # fmt: skip
            self.refused(line + b"\r\nHost: a\r\n\r\n")

    def test_host(self) -> None:
        """HTTP/1.1 without exactly one valid Host is 400."""
        for host in (
            b"", b"Host:\r\n", b"Host: a\r\nHost: a\r\n", b"Host: user@a\r\n", b"Host: a/b\r\n",
            b"Host: a, b\r\n", b"Host: a b\r\n", b"Host: a:99999\r\n", b"Host: a:b\r\n",
            b"Host: http://a\r\n", b"Host: [::1\r\n", b"Host: a?b\r\n", b"Host: a..b\r\n",
            b"Host: .\r\n", b"Host: " + b"a" * 64 + b"\r\n", b"Host: " + b"a." * 150 + b"\r\n",
        ):  # fmt: skip
            self.refused(b"GET /health HTTP/1.1\r\n" + host + b"\r\n")

    def test_targets(self) -> None:
        """Targets that are no path and no http URL, or disagree with Host, are 400."""
        for target in (
            b"health", b"http://", b"ftp://a/health", b"http://b/health", b"http://u@a/health",
            b"*", b"//", b"http:/health",
        ):  # fmt: skip
            if target == b"//":
                continue  # a path of two empty segments is a path
            self.refused(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")

    def test_path_encoding(self) -> None:
        """A path with a broken escape, no UTF-8 or a NUL is 400."""
        for path in (b"/%", b"/%zz", b"/%f", b"/%ff", b"/a%00b", b"/%c3%28", b"/?a=%zz", b"/#a"):
            self.refused(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")

    def test_connect(self) -> None:
        """CONNECT is refused."""
        head = b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"
        self.refused(head, status=405, code="METHOD_NOT_ALLOWED")

    def test_framing(self) -> None:
        """Two lengths, a length with chunked, and unknown or repeated codings are 400."""
        for fields in (
            b"Content-Length: 1\r\nContent-Length: 1\r\n",
            b"Content-Length: 1\r\nContent-Length: 2\r\n",
            b"Content-Length: 1, 1\r\n",
            b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: gzip, chunked\r\n",
            b"Transfer-Encoding: identity\r\n",
            b"Transfer-Encoding: xchunked\r\n",
            b"Transfer-Encoding:\r\n",
            b"Content-Length: -1\r\n",
            b"Content-Length: +1\r\n",
            b"Content-Length: 1_0\r\n",
            b"Content-Length: 0x1\r\n",
            b"Content-Length:\r\n",
            b"Content-Length: 1 1\r\n",
            b"Content-Length: " + b"9" * 5000 + b"\r\n",
            b"Content-Length : 1\r\n",
        ):
            self.refused(b"POST /health HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\nx")

    def test_chunked_needs_1_1(self) -> None:
        """Transfer-Encoding in HTTP/1.0 is 400."""
        self.refused(b"POST /health HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")

    def test_fields(self) -> None:
        """Folded lines, control characters, spaces before the colon and no colon are 400."""
        for field in (
            b"A: b\r\n c", b"A: b\r\n\tc", b"A: b\x00c", b"A: b\x01c", b"A: b\x7fc", b"A: b\rc",
            b"A: b\nc", b"A : b", b": b", b"A", b"A(: b", b"A\x00: b", b" A: b",
        ):  # fmt: skip
            self.refused(b"GET /health HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n\r\n")

    def test_no_line_ends(self) -> None:
        """A head that can't become one is refused at once: bare LF, or TLS on this port."""
        for data in (
            b"GET /health HTTP/1.1\nHost: a\n\n",
            b"GET /health HTTP/1.1\r\nHost: a\r\nA: b\n",
            b"GET /health HTTP/1.1\r\nHost: a\r\nA: b\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: a\r\n\r\r\n",
            b"GET /health HTTP/1.1\rHost: a\r\r",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ):
            self.refused(data)

    def test_no_room_for_the_body(self) -> None:
        """A body that can be put nowhere is 503, logged without the request failing loudly."""

        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        self.patch(tempfile, "TemporaryFile", full)
        body = b"x" * 200_000
        head = b"POST /test/echo HTTP/1.1\r\nHost: a\r\n"
        for request in (
            head + b"Content-Length: 200000\r\n\r\n" + body,
            head + b"Transfer-Encoding: chunked\r\n\r\n30d40\r\n" + body + b"\r\n0\r\n\r\n",
        ):
            app = self.app(Echo().router)
            connection = app.connect()
            connection.send(request)
            response = connection.response()
            self.assertEqual((response.status, response.json["code"]), (503, "SERVICE_UNAVAILABLE"))
            self.assertEqual([line["status"] for line in app.lines("x121.access")], [503])
            self.assertTrue(connection.closed)

    def test_large_bodies_go_to_a_file(self) -> None:
        """A body over 100,000 bytes, told or found, is in a file; a smaller one in memory."""
        files: list[bool] = []
        feature = Router()

        @feature.route("/", methods=["POST"])
        def receive(request: Request) -> bytes:
            content = request.content
            files.append(getattr(content, "_rolled", not isinstance(content, io.BytesIO)))
            body: bytes = content.read()
            return body

        for size, in_file in ((100_000, False), (100_001, True)):
            body = b"x" * size
            sent = self.app(feature).request("POST", "/test", body=body)
            self.assertEqual(sent.body, body)
            connection = self.app(feature).connect()
            connection.send(b"POST /test HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            for start in range(0, size, 9_000):
                piece = body[start : start + 9_000]
                connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            connection.send(b"0\r\n\r\n")
            self.assertEqual(connection.response().body, body)
            self.assertEqual(files[-2:], [in_file, in_file])

    def test_target_too_long(self) -> None:
        """A long target is 414, also one that never ends."""
        uri = {"status": 414, "code": "URI_TOO_LONG"}
        self.refused(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", **uri)  # type: ignore[arg-type]
        self.refused(b"GET /" + b"a" * 100_000, **uri)  # type: ignore[arg-type]

    def test_head_too_large(self) -> None:
        """100,000 bytes of header are 431, in one line or in many."""
        large = {"status": 431, "code": "HEADERS_TOO_LARGE"}
        start = b"GET /health HTTP/1.1\r\nHost: a\r\n"
        self.refused(start + b"A: " + b"a" * 100_000 + b"\r\n\r\n", **large)  # type: ignore[arg-type]
        self.refused(start + b"A: aaaaaaaaaaaaaaa\r\n" * 5000 + b"\r\n", **large)  # type: ignore[arg-type]
        self.refused(start + b"A:\r\n" * 200 + b"\r\n", **large)  # type: ignore[arg-type]

    def test_method_too_long(self) -> None:
        """A method of more than 64 bytes is 400, also one that never ends."""
        self.refused(b"A" * 65 + b" /health HTTP/1.1\r\nHost: a\r\n\r\n")
        self.refused(b"A" * 9000 + b" /health HTTP/1.1\r\nHost: a\r\n\r\n")
        self.refused(b"A" * 9000)
        self.refused(b"A" * 65)
        connection = self.app().connect()
        connection.send(b"A" * 64 + b" /health HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(connection.response().status, 405)

    def test_field_name_too_long(self) -> None:
        """A field's name of more than 256 bytes is 431, and is remembered nowhere."""
        start = b"GET /health HTTP/1.1\r\nHost: a\r\n"
        for size in (257, 20_000):
            name = b"N" * size
            self.refused(start + name + b": a\r\n\r\n", status=431, code="HEADERS_TOO_LARGE")
            self.assertNotIn(name, _nameEncoder._canonicalHeaderCache)
        connection = self.app().connect()
        connection.send(start + b"N" * 256 + b": a\r\n\r\n")
        self.assertEqual(connection.response().status, 200)

    def test_body_longer_than_its_length(self) -> None:
        """What follows a body is a request of its own, and refused as what it is."""
        app = self.app(Echo().router)
        connection = app.connect()
        connection.send(b"POST /test/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nokEXTRA")
        self.assertEqual(connection.response().body, b"ok")
        connection.send(b"\r\n\r\n")
        self.assertEqual(connection.response().status, 400)
        self.assertTrue(connection.closed)

    @settings(max_examples=300)
    @given(st.binary(max_size=300), st.integers(1, 50))
    def test_any_bytes(self, data: bytes, size: int) -> None:
        """Whatever comes, in pieces of any size: the answers are whole, and nothing breaks."""
        app = App(make_channel=self.make_channel)
        try:
            connection = app.connect()
            for start in range(0, len(data), size):
                connection.send(data[start : start + size])
            connection.send(b"\r\n\r\n")
            while connection.received:
                self.assertIn("x-request-id", connection.response().headers)
            app.clock.advance(10)
            app.clock.advance(80)
        finally:
            app.close()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertTrue(connection.closed)
        self.assertLessEqual({line["level"] for line in app.log}, {"info"})

    @settings(max_examples=200)
    @given(st.binary(max_size=40).filter(lambda value: b"\n" not in value))
    def test_nothing_is_echoed_into_headers(self, value: bytes) -> None:
        """No header value, whatever its bytes, can add a header to the answer."""
        app = App(make_channel=self.make_channel, TRUSTED_PROXIES="10.0.0.0/8")
        try:
            connection = app.connect("10.0.0.1")
            fields = (b"Origin", b"X-Request-Id", b"Access-Control-Request-Method", b"Cookie")
            lines = b"".join(b"%s: %s\r\n" % (name, value) for name in fields)
            connection.send(b"OPTIONS /health HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")
            response = connection.response("OPTIONS")
        finally:
            app.close()
        expected = {"date", "connection", "content-type", "content-length", "vary", "allow"}
        self.assertLessEqual(set(response.headers), expected | {"x-request-id"})
        self.assertEqual(connection.received, b"")


class AcceptanceTests(AppTestCase):
    def test_byte_by_byte(self) -> None:
        """A request that comes byte by byte is served like one that comes whole."""
        connection = self.app().connect()
        for byte in GET:
            connection.send(bytes([byte]))
        self.assertEqual(connection.response().status, 200)

    def test_long_field_in_pieces(self) -> None:
        """A field that is nearly as long as a head may be is read on, in whatever pieces it comes.

        It was not beyond 16 KiB: its client got 408.
        """
        connection = self.app().connect()
        data = GET[:-2] + b"Cookie: " + b"a" * 32_000 + b"\r\n\r\n"
        for at in range(0, len(data), 1000):
            self.assertEqual(connection.transport.producerState, "producing")
            connection.send(data[at : at + 1000])
        self.assertEqual(connection.response().status, 200)

    def test_pipelined(self) -> None:
        """Requests that come together are answered in order."""
        connection = self.app(Echo().router).connect()
        post = b"POST /test/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"
        connection.send(post + b"1" + post + b"2" + GET + post + b"3")
        bodies = [connection.response().body for _ in range(4)]
        self.assertEqual(bodies, [b"1", b"2", b'{"status":"ok"}', b"3"])

    def test_expect_continue(self) -> None:
        """The body is asked for if one is to come, and if it may."""
        for length, status, asked in ((b"2", 200, True), (b"0", 200, False), (b"9", 413, False)):
            connection = self.app(Echo().router, MAX_BODY_BYTES="8").connect()
            connection.send(
                b"POST /test/echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                b"Content-Length: " + length + b"\r\n\r\n"
            )
            interim = b"HTTP/1.1 100 Continue\r\n\r\n"
            self.assertEqual(connection.received.startswith(interim), asked)
            if asked:
                self.assertEqual(connection.received, interim)
                connection.transport.clear()
                connection.send(b"ok")
            self.assertEqual(connection.response().status, status)

    def test_absolute_form(self) -> None:
        """An absolute target that agrees with Host is served."""
        app = self.app()
        for target in ("http://example.com/health", "HTTP://EXAMPLE.COM/health?x=1"):
            self.assertEqual(app.request("GET", target).status, 200)

    def test_newer_minor_version(self) -> None:
        """A minor version above 1 is served as 1.1."""
        connection = self.app().connect()
        connection.send(b"GET /health HTTP/1.7\r\nHost: a\r\n\r\n")
        self.assertTrue(connection.received.startswith(b"HTTP/1.1 200 "))
        self.assertFalse(connection.closed)

    def test_http_1_0(self) -> None:
        """HTTP/1.0 needs no Host, and the connection closes after the answer."""
        connection = self.app().connect()
        connection.send(b"GET /health HTTP/1.0\r\n\r\n")
        self.assertEqual(connection.response().status, 200)
        self.assertTrue(connection.closed)

    def test_connection_close(self) -> None:
        """``close`` among the connection options closes it, in any case and place."""
        for value in (b"close", b"Close", b"keep-alive, close", b"TE,close"):
            connection = self.app().connect()
            connection.send(
                b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: " + value + b"\r\n\r\n"
            )
            self.assertEqual(connection.response().headers["connection"], "close")
            self.assertTrue(connection.closed)

    def test_options_star(self) -> None:
        """``OPTIONS *`` is answered, with Allow."""
        response = self.app().request("OPTIONS", "*")
        self.assertEqual((response.status, response.body), (204, b""))
        self.assertIn("GET", response.headers["allow"])

    def test_date_on_every_answer(self) -> None:
        """Every answer has the Date of its second."""
        app = self.app()
        first = app.request("GET", "/health").headers["date"]
        self.assertEqual(first, "Sun, 09 Sep 2001 01:46:40 GMT")
        app.clock.advance(1)
        self.assertEqual(
            app.request("GET", "/health").headers["date"], "Sun, 09 Sep 2001 01:46:41 GMT"
        )

    def test_server_is_not_named(self) -> None:
        """No answer tells the server's name or version."""
        self.assertNotIn("server", self.app().request("GET", "/health").headers)


_SCHEDULE = ("pausing", "resuming", "waiting")


class FlowTests(AppTestCase):
    """Clients that don't take their answers, and those that close their side."""

    def test_no_answers_pile_up(self) -> None:
        """While a client doesn't take its answers, no further request is begun."""
        app = self.app()
        connection = app.connect()
        connection.send(GET)
        connection.channel.pauseProducing()  # as TCP does when its buffer is full
        connection.send(GET * 10)
        self.assertEqual(len(app.log), 1)
        connection.channel.resumeProducing()
        app.clock.advance(0)
        self.assertEqual(len(app.log), 11)
        self.assertFalse(connection.closed)

    def test_no_requests_pile_up(self) -> None:
        """What a client sends that doesn't take its answers is not read without end."""
        app = self.app()
        connection = app.connect()
        connection.send(GET)
        connection.channel.pauseProducing()
        for _ in range(20):
            connection.send(GET * 100)
        self.assertEqual(connection.transport.producerState, "paused")
        connection.channel.resumeProducing()
        app.clock.advance(0)
        self.assertEqual(connection.transport.producerState, "producing")

    def test_order(self) -> None:
        """What came before the client stopped taking answers stays before what came after.

        Were it not so, the body of a request could be taken for a request.
        """
        app = self.app(lambda state: Keeper(state, []).router)
        connection = app.connect()
        later = b"GET /test/later HTTP/1.1\r\nHost: a\r\n\r\n"
        connection.send(later + b"POST /test/echo HTTP/1.1\r\nHost: a\r\n")
        connection.channel.pauseProducing()
        connection.send(b"Content-Length: %d\r\n\r\n" % len(GET))
        connection.send(GET)
        app.clock.advance(5)
        connection.send(later)
        connection.channel.resumeProducing()
        app.clock.advance(0)
        bodies = [connection.response().body for _ in range(2)]
        self.assertEqual(bodies, [b"later", GET])
        app.clock.advance(5)
        self.assertEqual(connection.response().body, b"later")
        self.assertEqual(len(app.lines("x121.access")), 3)

    @settings(max_examples=250, deadline=None)
    @given(
        st.lists(st.sampled_from(["now", "later", "post", "chunked"]), min_size=1, max_size=8),
        st.lists(
            st.tuples(st.integers(1, 90), st.sampled_from(["pausing", "resuming", "waiting"]))
        ),
    )
    def test_any_schedule(self, kinds: list[str], steps: list[tuple[int, str]]) -> None:
        """Requests are answered in their order, however they come and are taken."""
        patient = dict.fromkeys(("HEADER_TIMEOUT_SECS", "REQUEST_TIMEOUT_SECS"), "86400")
        patient["MIN_SEND_BYTES_PER_SEC"] = "0"
        app = self.app(lambda state: Keeper(state, []).router, **patient)
        connection = app.connect()
        data = b"".join(_numbered(kind, number) for number, kind in enumerate(kinds))
        for size, then in steps:
            connection.send(data[:size])
            data = data[size:]
            if then == "pausing":
                connection.channel.pauseProducing()
            elif then == "resuming":
                connection.channel.resumeProducing()
            else:
                app.clock.advance(5)
        connection.send(data)
        connection.channel.resumeProducing()
        app.clock.pump([5] * len(kinds))
        bodies = [connection.response().body for _ in kinds]
        self.assertEqual(bodies, [b"%d" % number for number in range(len(kinds))])
        self.assertEqual(connection.received, b"")

    def test_all_that_came_before_a_closed_side_is_answered(self) -> None:
        """A client that closes its side gets the answers to what it had sent, however slowly."""
        app = self.app()
        connection = app.connect()
        connection.channel.pauseProducing()
        connection.send(GET * 5)
        connection.channel.readConnectionLost()
        self.assertFalse(connection.closed)
        connection.channel.resumeProducing()
        app.clock.advance(0)
        self.assertEqual(len(app.log), 5)
        self.assertTrue(connection.closed)

    def test_nothing_is_kept(self) -> None:
        """What was to be sent is freed with its connection, without a garbage collection."""
        kept: list[weakref.ref[Request]] = []
        app = self.app(lambda state: Keeper(state, kept).router)
        for path in (b"now", b"later"):
            connection = app.connect()
            connection.send(b"GET /test/%s HTTP/1.1\r\nHost: a\r\n\r\n" % path)
            connection.disconnect()
            del connection
        left = [request for reference in kept if (request := reference()) is not None]
        self.assertEqual([request.transport for request in left], [None] * len(left))

    def test_answer_is_sent_to_a_closed_side(self) -> None:
        """A client that closes its side after its request still gets an answer that is ready."""
        connection = self.app().connect()
        connection.send(GET)
        connection.channel.readConnectionLost()
        self.assertEqual(connection.response().status, 200)
        self.assertTrue(connection.closed)
        self.assertFalse(connection.transport.aborted)

    def test_closed_side_cancels(self) -> None:
        """One that might send more, and closes its side, counts as gone: 499."""
        app = self.app(lambda state: Keeper(state, []).router)
        connection = app.connect()
        connection.send(b"GET /test/later HTTP/1.1\r\nHost: a\r\n\r\n")
        connection.channel.readConnectionLost()
        app.clock.advance(0)
        self.assertEqual([line["status"] for line in app.log], [499])
        self.assertEqual(app.clock.getDelayedCalls(), [])

    def test_closed_side_behind_the_last_request(self) -> None:
        """One that said that it sends no more is answered."""
        for line in (b"1.1\r\nHost: a\r\nConnection: close\r\n", b"1.0\r\n"):
            app = self.app(lambda state: Keeper(state, []).router)
            connection = app.connect()
            connection.send(b"GET /test/later HTTP/%s\r\n" % line)
            connection.channel.readConnectionLost()
            app.clock.advance(5)
            self.assertEqual(connection.response().body, b"later")
            self.assertTrue(connection.transport.disconnecting)
            self.assertEqual([line["status"] for line in app.log], [200])

    def test_finished_answers_are_sent_to_a_closed_side(self) -> None:
        """What is answered stays answered, when what is behind it is cancelled."""
        app = self.app(lambda state: Keeper(state, []).router)
        connection = app.connect()
        connection.send(GET + b"GET /test/later HTTP/1.1\r\nHost: a\r\n\r\n")
        connection.channel.readConnectionLost()
        app.clock.advance(0)
        self.assertEqual(connection.response().status, 200)
        self.assertEqual([line["status"] for line in app.log], [200, 499])
        self.assertFalse(connection.transport.aborted)

    def test_half_a_request(self) -> None:
        """Half a request gets no answer; it is logged as 499 if its head was whole."""
        head = b"POST /test/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        for half, statuses in (
            (head, [200]),
            (head + b"Content-Length: 9\r\n\r\nab", [200, 499]),
            (head + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab", [200, 499]),
        ):
            app = self.app(lambda state: Keeper(state, []).router)
            connection = app.connect()
            connection.send(GET + half)
            connection.channel.readConnectionLost()
            app.clock.advance(0)
            self.assertEqual(connection.response().status, 200)
            self.assertEqual(connection.received, b"")
            self.assertEqual([line["status"] for line in app.log], statuses)
            self.assertFalse(connection.transport.aborted)
            self.assertEqual(app.site.connections, 0)

    def test_last_answer(self) -> None:
        """The last answer ends our side; we read on until the client closes, too.

        To close with unread input would reset the connection, and cut the answer.
        """
        for line in (b"1.1\r\nHost: a\r\nConnection: close\r\n", b"1.0\r\n"):
            app = self.app()
            connection = app.connect()
            connection.send(b"GET /health HTTP/%s\r\n" % line + GET)
            self.assertEqual(connection.response().status, 200)
            self.assertEqual(connection.transport.producerState, "producing")
            self.assertTrue(connection.transport.half_closed)
            self.assertFalse(connection.transport.disconnecting)
            connection.send(GET)
            connection.channel.readConnectionLost()
            self.assertTrue(connection.transport.disconnecting)
            self.assertFalse(connection.transport.aborted)
            self.assertEqual((connection.received, len(app.log)), (b"", 1))


class FairnessTests(AppTestCase):
    """One connection does a bounded part of its work in one turn of the reactor."""

    def test_pipelined(self) -> None:
        """Four requests of one connection begin in a turn, in order, others in between."""
        app = self.app(lambda state: Keeper(state, []).router)
        greedy, bystander = app.connect(), app.connect()
        requests = b"".join(_numbered("now", number) for number in range(10))
        greedy.channel.dataReceived(requests)
        self.assertEqual(len(app.log), 4)
        bystander.channel.dataReceived(GET)
        self.assertEqual(len(app.log), 5)
        app.clock.advance(0)
        bodies = [greedy.response().body for _ in range(10)]
        self.assertEqual(bodies, [b"%d" % number for number in range(10)])

    def test_chunks(self) -> None:
        """No more than 16 KiB of a body in chunks is taken apart in a turn."""
        app = self.app(lambda state: Keeper(state, []).router)
        connection = app.connect()
        head = b"POST /test/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.channel.dataReceived(head + b"1\r\nx\r\n" * 40_000 + b"0\r\n\r\n")
        (request,) = connection.channel.requests
        self.assertLessEqual(request.content.tell(), SHARE // len(b"1\r\nx\r\n") + 1)
        self.assertEqual(connection.transport.producerState, "paused")
        app.clock.advance(0)
        self.assertEqual(connection.response().body, b"x" * 40_000)

    def test_input_in_bytes(self) -> None:
        """A byte of a long head costs no more than one of a short one."""

        def cost(size: int) -> float:
            connection = self.app().connect()
            connection.send(GET[:-2] + b"A: " + b"a" * size)
            begun = time.process_time()
            for _ in range(1000):
                connection.channel.dataReceived(b"a")
            return time.process_time() - begun

        self.assertLess(min(cost(30_000) for _ in range(3)), 10 * min(cost(1) for _ in range(3)))


def _numbered(kind: str, number: int) -> bytes:
    """Return a request whose answer is ``number``, as text."""
    text = b"%d" % number
    if kind == "post":
        head = b"POST /test/echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s"
        return head % (len(text), text)
    if kind == "chunked":
        head = b"POST /test/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(text), text)
    return b"GET /test/%s/%s HTTP/1.1\r\nHost: a\r\n\r\n" % (kind.encode(), text)


class Keeper:
    router = Router()

    def __init__(self, state: AppState, kept: list[weakref.ref[Request]]) -> None:
        self._clock = state.ws_manager.clock
        self._kept = kept

    @router.route("/now")
    def now(self, request: Request) -> str:
        self._kept.append(weakref.ref(request))
        return "now"

    @router.route("/echo", methods=["POST"])
    def echo(self, request: Request) -> bytes:
        body: bytes = request.content.read()
        return body

    @router.route("/now/<number>")
    def numbered_now(self, request: Request, number: str) -> str:
        return number

    @router.route("/later/<number>")
    async def numbered_later(self, request: Request, number: str) -> str:
        await deferLater(self._clock, 5)
        return number

    @router.route("/later")
    async def later(self, request: Request) -> str:
        self._kept.append(weakref.ref(request))
        await deferLater(self._clock, 5)
        return "later"


class DeadlineTests(AppTestCase):
    def setUp(self) -> None:
        self.server = self.app(
            Echo().router,
            HEADER_TIMEOUT_SECS="3",
            KEEPALIVE_TIMEOUT_SECS="20",
            REQUEST_TIMEOUT_SECS="7",
        )

    def pass_time(self, seconds: float, connection: Connection, data: bytes = b"") -> None:
        """Let time pass in steps of a second, sending ``data`` in each."""
        while seconds > 0:
            self.server.clock.advance(min(1.0, seconds))
            seconds -= 1
            connection.send(data)

    def test_slow_head(self) -> None:
        """A client that sends a byte a second is dropped at HEADER_TIMEOUT_SECS."""
        connection = self.server.connect()
        connection.send(b"GET /health HTTP/1.1\r\nHost: a\r\nA: ")
        self.pass_time(2.9, connection, b"a")
        self.assertFalse(connection.closed)
        self.server.clock.advance(0.2)
        response = connection.response()
        self.assertEqual((response.status, response.json["code"]), (408, "REQUEST_TIMEOUT"))
        self.assertTrue(connection.closed)

    def test_silent_client(self) -> None:
        """A client that connects and says nothing is closed at HEADER_TIMEOUT_SECS."""
        connection = self.server.connect()
        self.server.clock.advance(3)
        self.assertEqual((connection.closed, connection.received), (True, b""))

    def test_slow_body(self) -> None:
        """A body has REQUEST_TIMEOUT_SECS to arrive, however steadily it drips."""
        connection = self.server.connect()
        connection.send(b"POST /test/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
        self.pass_time(6.9, connection, b"a")
        self.assertFalse(connection.closed)
        self.server.clock.advance(0.2)
        self.assertEqual(connection.response().status, 408)

    def test_idle(self) -> None:
        """An idle connection is closed at KEEPALIVE_TIMEOUT_SECS after its last answer."""
        connection = self.server.connect()
        self.server.clock.advance(2)
        self.assertEqual(connection.request("GET", "/health").status, 200)
        self.server.clock.advance(19.9)
        self.assertEqual(connection.request("GET", "/health").status, 200)
        self.server.clock.advance(19.9)
        self.assertFalse(connection.closed)
        self.server.clock.advance(0.1)
        self.assertTrue(connection.closed)

    def test_slow_head_of_a_second_request(self) -> None:
        """The head of a later request has HEADER_TIMEOUT_SECS from its first byte."""
        connection = self.server.connect()
        connection.request("GET", "/health")
        self.server.clock.advance(15)
        connection.send(b"GET /health")
        self.server.clock.advance(2.9)
        self.assertFalse(connection.closed)
        self.server.clock.advance(0.1)
        self.assertEqual(connection.response().status, 408)

    def test_client_that_leaves_mid_request(self) -> None:
        """A client that leaves in the middle of a head or body leaves nothing behind."""
        for part in (
            b"GET /hea",
            b"POST /test/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab",
        ):
            connection = self.server.connect()
            connection.send(part)
            connection.disconnect()
        self.assertEqual(self.server.clock.getDelayedCalls(), [])
        self.assertEqual(self.server.site.connections, 0)
