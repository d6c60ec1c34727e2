"""The body limit: 413, and nothing past the limit is read."""

from __future__ import annotations

from tests.memory import AppTestCase
from x121.http.request import Request
from x121.web.router import Router


class Echo:
    router = Router()

    def __init__(self) -> None:
        self.called = 0

    @router.route("/echo", methods=["POST"])
    def echo(self, request: Request) -> bytes:
        self.called += 1
        body: bytes = request.content.read()
        return body


class BodyLimitTests(AppTestCase):
    def setUp(self) -> None:
        self.echo = Echo()
        self.server = self.app(self.echo.router, MAX_BODY_BYTES="10")

    def test_at_the_limit(self) -> None:
        """A body of exactly MAX_BODY_BYTES is served, announced or chunked."""
        self.assertEqual(self.server.request("POST", "/test/echo", body=b"x" * 10).body, b"x" * 10)
        chunked = {"Transfer-Encoding": "chunked", "Content-Type": "text/plain"}
        connection = self.server.connect()
        connection.send(b"POST /test/echo HTTP/1.1\r\nHost: a\r\n")
        connection.send("".join(f"{k}: {v}\r\n" for k, v in chunked.items()).encode() + b"\r\n")
        connection.send(b"4\r\nabcd\r\n6\r\nefghij\r\n0\r\n\r\n")
        self.assertEqual(connection.response().body, b"abcdefghij")

    def test_announced(self) -> None:
        """A length over the limit is refused before a byte of the body is read."""
        connection = self.server.connect()
        connection.send(b"POST /test/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n")
        response = connection.response()
        self.assertEqual((response.status, response.json["code"]), (413, "PAYLOAD_TOO_LARGE"))
        self.assertIn("10 bytes", response.json["error"])
        self.assertEqual(response.headers["connection"], "close")
        self.assertEqual(self.echo.called, 0)

    def test_expect_continue(self) -> None:
        """``Expect: 100-continue`` with a length over the limit is 413 and never 100."""
        connection = self.server.connect()
        head = b"POST /test/echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
        connection.send(head + b"Content-Length: 99999999999\r\n\r\n")
        self.assertTrue(connection.received.startswith(b"HTTP/1.1 413 "))

    def test_expect_continue_within_the_limit(self) -> None:
        """Within the limit, the client is told to go on."""
        connection = self.server.connect()
        head = b"POST /test/echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
        connection.send(head + b"Content-Length: 2\r\n\r\n")
        self.assertEqual(connection.received, b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.transport.clear()
        connection.send(b"ok")
        self.assertEqual(connection.response().body, b"ok")

    def test_chunked_past_the_limit(self) -> None:
        """A chunked body is refused at the chunk that passes the limit."""
        connection = self.server.connect()
        connection.send(
            b"POST /test/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"6\r\nabcdef\r\n"
        )
        self.assertEqual(connection.received, b"")
        connection.send(b"5\r\nghijk\r\n")
        self.assertEqual(connection.response().status, 413)
        self.assertTrue(connection.closed)
        connection.send(b"5\r\nghijk\r\n0\r\n\r\n")
        self.assertEqual((connection.received, self.echo.called), (b"", 0))

    def test_one_huge_chunk(self) -> None:
        """A chunk announced as huge is refused at the limit, not at its end."""
        connection = self.server.connect()
        connection.send(
            b"POST /test/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"FFFFFFF\r\n" + b"x" * 11
        )
        self.assertEqual(connection.response().status, 413)

    def test_client_gets_to_read_the_answer(self) -> None:
        """What still comes is thrown away for a while, and the connection dropped after that."""
        connection = self.server.connect()
        connection.send(b"POST /test/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")
        self.assertTrue(connection.transport.half_closed)
        self.assertFalse(connection.transport.aborted)
        for _ in range(9):
            connection.send(b"x" * (1 << 20))
        self.assertTrue(connection.transport.aborted)

    def test_body_that_came_with_the_head(self) -> None:
        """Reading goes on, also if much of the body came with the head."""
        connection = self.server.connect()
        connection.send(
            b"POST /test/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n"
            + b"x" * 100_000
        )
        self.assertEqual(connection.response().status, 413)
        self.assertEqual(connection.transport.producerState, "producing")

    def test_client_that_closes(self) -> None:
        """A client that closes after its early answer is let go at once."""
        connection = self.server.connect()
        connection.send(b"POST /test/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")
        self.assertFalse(connection.transport.disconnecting)
        connection.channel.readConnectionLost()
        self.assertTrue(connection.transport.disconnecting)

    def test_client_that_does_not_close(self) -> None:
        """A client that neither sends nor closes is let go after a few seconds."""
        connection = self.server.connect()
        connection.send(b"POST /test/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")
        self.server.clock.advance(4.9)
        self.assertFalse(connection.transport.disconnecting)
        self.server.clock.pump([0.1, 0])
        self.assertTrue(connection.transport.disconnecting)
        self.assertFalse(connection.transport.aborted, "the response may be on its way")
        self.assertEqual(self.server.clock.getDelayedCalls(), [])
