"""Bodies in chunks: the same in whatever pieces they come, and wrong at their first wrong byte."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import _DataLoss

from tests.memory import AppTestCase
from x121.errors import AppError, BadRequest, HeadersTooLarge
from x121.http.chunked import (
    MAX_EXTENSION_BYTES,
    MAX_TRAILER_BYTES,
    MAX_TRAILER_FIELDS,
    ChunkedDecoder,
)
from x121.http.request import Request
from x121.testing.app import App
from x121.web.router import Router


@dataclass
class Outcome:
    """What became of some bytes: ``rest`` is set at the body's end, ``wrong_at`` at a refusal."""

    body: bytes = b""
    rest: bytes | None = None
    wrong_at: int | None = None


class Decoding:
    """A decoder, and what it gave."""

    def __init__(self) -> None:
        self.outcome = Outcome()
        self.sizes: list[int] = []
        self._decoder = ChunkedDecoder(self._take, self._finish, self.sizes.append)

    def _take(self, data: bytes) -> None:
        self.outcome.body += data

    def _finish(self, rest: bytes) -> None:
        self._decoder.noMoreData()  # doesn't raise: the end is the end for whoever is told
        self.outcome.rest = rest

    def feed(self, data: bytes) -> None:
        """Give it ``data`` in one piece."""
        self._decoder.dataReceived(data)

    def feed_bytes(self, data: bytes) -> Outcome:
        """Give it ``data`` byte by byte, to the end of the body or the first wrong byte."""
        for at in range(len(data)):
            try:
                self.feed(data[at : at + 1])
            except AppError:
                self.outcome.wrong_at = at
                break
            if self.outcome.rest is not None:
                self.outcome.rest = data[at + 1 :]
                break
        return self.outcome

    def error(self, data: bytes) -> AppError:
        """Give it ``data``, which is refused, and again, which is no better; return why."""
        for _ in range(2):
            try:
                self.feed(data)
            except AppError as error:
                refusal = error
            else:
                raise AssertionError(f"{data!r} was not refused")
        return refusal


# --- RFC 9112 section 7.1 once more, as regular expressions for whole lines ---

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_VALUE = rb"[ \t]*=[ \t]*(?:" + _TOKEN + b"|" + _QUOTED + b")"
_EXTENSION = rb"[ \t]*;[ \t]*" + _TOKEN + b"(?:" + _VALUE + b")?"
SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:" + _EXTENSION + rb")*\r\n")
DATA_END = re.compile(rb"\r\n")
TRAILER_LINE = re.compile(rb"(?:(" + _TOKEN + rb"):[\t -~\x80-\xff]*)?\r\n")
# Whatever has begun well is made whole by one of these.
COMPLETIONS = (b"", b"\n", b"\r\n", b"0\r\n", b";a\r\n", b'"\r\n', b' "\r\n', b":\r\n")


def _wrong_in(line: re.Pattern[bytes], data: bytes) -> int | None:
    """Return the place of the first byte with which ``data`` can't become ``line``, if any."""
    for end in range(1, len(data) + 1):
        if not any(line.fullmatch(data[:end] + more) for more in COMPLETIONS):
            return end - 1
    return None


def by_the_book(data: bytes) -> Outcome:
    """Return what should become of ``data``, which is within all limits."""
    outcome, at, line = Outcome(), 0, SIZE_LINE
    while True:
        match = line.match(data, at)
        if match is None:
            wrong = _wrong_in(line, data[at:])
            outcome.wrong_at = None if wrong is None else at + wrong
            return outcome
        at = match.end()
        if line is SIZE_LINE:
            size = int(match[1], 16)
            outcome.body += data[at : at + size]
            at += size
            line = DATA_END if size else TRAILER_LINE
            if at > len(data):
                return outcome
        elif line is DATA_END:
            line = SIZE_LINE
        elif match[0] == b"\r\n":
            outcome.rest = data[at:]
            return outcome


_SPACES = st.sampled_from([b"", b"", b" ", b"\t "])
_TOKENS = st.sampled_from([b"a", b"Z9", b"!#$%&'*+-.^_`|~", b"chunk-signature"])
_QUOTES = st.sampled_from([b'""', b'"a b"', b'"\\"\\\\;\r"'.replace(b"\r", b"\t"), b'"\xff,="'])


@st.composite
def _extensions(draw: st.DrawFn) -> bytes:
    extensions = b""
    for _ in range(draw(st.integers(0, 2))):
        extensions += draw(_SPACES) + b";" + draw(_SPACES) + draw(_TOKENS)
        if draw(st.booleans()):
            extensions += draw(_SPACES) + b"=" + draw(_SPACES) + draw(_TOKENS | _QUOTES)
    return extensions


@st.composite
def _messages(draw: st.DrawFn) -> bytes:
    """Return a body in chunks, in any way that is right."""
    message = b""
    for data in draw(st.lists(st.binary(min_size=1, max_size=30), max_size=4)):
        digits = draw(st.sampled_from([b"%x", b"%X", b"%04x", b"%016X"])) % len(data)
        message += digits + draw(_extensions()) + b"\r\n" + data + b"\r\n"
    message += draw(st.sampled_from([b"0", b"000"])) + draw(_extensions()) + b"\r\n"
    for name in draw(st.lists(_TOKENS, max_size=2)):
        message += name + b":" + draw(st.sampled_from([b"", b" a: b\t", b"\x80;"])) + b"\r\n"
    return message + b"\r\n"


class DecoderTests(SynchronousTestCase):
    @settings(max_examples=300)
    @given(_messages(), st.binary(max_size=5), st.lists(st.integers(1, 40), max_size=30))
    def test_any_pieces(self, message: bytes, behind: bytes, sizes: list[int]) -> None:
        """A body is the same in whatever pieces it comes, and what is behind it is given back."""
        expected = by_the_book(message + behind)
        self.assertEqual(expected.rest, behind)
        self.assertEqual(Decoding().feed_bytes(message + behind), expected)
        whole, pieces = Decoding(), Decoding()
        whole.feed(message + behind)
        self.assertEqual(whole.outcome, expected)
        left = message
        for size in sizes:
            pieces.feed(left[:size])
            left = left[size:]
        if left:
            pieces.feed(left)
        self.assertEqual(pieces.outcome, Outcome(expected.body, b""))
        self.assertEqual(sum(pieces.sizes), len(expected.body))

    @settings(max_examples=500)
    @given(_messages(), st.data())
    def test_any_wrong_byte(self, message: bytes, data: st.DataObject) -> None:
        """A byte that is changed, lost or new is right by the grammar, or refused right there."""
        at = data.draw(st.integers(0, len(message) - 1))
        byte = bytes([data.draw(st.integers(0, 255) | st.sampled_from(b'\r\n\t 0;="\\:'))])
        for changed in (
            message[:at] + byte + message[at + 1 :],
            message[:at] + byte + message[at:],
            message[:at] + message[at + 1 :],
        ):
            self.same(changed)

    @settings(max_examples=500)
    @given(st.lists(st.sampled_from(b'\r\n\t 01aF;="\\:x\0\x7f\x80'), max_size=30).map(bytes))
    @example(b'1;a="\\')
    def test_any_line(self, line: bytes) -> None:
        """So it is with lines that were never right."""
        self.same(line)
        self.same(b"0\r\n" + line)

    def test_every_byte(self) -> None:
        """So it is with every byte in every place."""
        message = b'1a \t; b = "\\c d";e=f\r\n' + b"z" * 26 + b"\r\n00\r\nG-h: i j\r\nk:\r\n\r\n"
        for at in range(len(message)):
            for byte in range(256):
                self.same(message[:at] + bytes([byte]) + message[at + 1 :])

    def same(self, data: bytes) -> None:
        """Assert that what becomes of ``data``, whole or byte by byte, is what should."""
        expected = by_the_book(data)
        self.assertEqual(Decoding().feed_bytes(data), expected, data)
        whole = Decoding()
        if expected.wrong_at is not None:
            self.assertIsInstance(whole.error(data), BadRequest)
        else:
            whole.feed(data)
        self.assertEqual((whole.outcome.body, whole.outcome.rest), (expected.body, expected.rest))

    def test_sizes(self) -> None:
        """A size has up to 16 digits, and is told before its data comes."""
        for digits in (b"0010", b"fffffffffffffFFF", b"0" * 15 + b"1"):
            decoding = Decoding()
            decoding.feed(digits + b"\r\n")
            self.assertEqual(decoding.sizes, [int(digits, 16)])
        self.assertEqual(Decoding().feed_bytes(b"0" * 17).wrong_at, 16)

    def test_end(self) -> None:
        """Behind the end nothing can come, and before it the end is a loss."""
        decoding = Decoding()
        for data in (b"1\r\n", b"a", b"\r\n0", b"\r\n\r"):
            decoding.feed(data)
            self.assertRaises(_DataLoss, decoding._decoder.noMoreData)
        decoding.feed(b"\n")
        decoding._decoder.noMoreData()
        self.assertRaises(RuntimeError, decoding.feed, b"0")


class LimitTests(SynchronousTestCase):
    def test_extensions(self) -> None:
        """Extensions of one chunk have a bound, and are refused at the byte beyond it."""
        line = b"1;" + b"a" * (MAX_EXTENSION_BYTES - 1)
        decoding = Decoding()
        decoding.feed(line + b"\r\nx\r\n0\r\n\r\n")
        self.assertEqual(decoding.outcome, Outcome(b"x", b""))
        self.assertEqual(Decoding().feed_bytes(b"0" * 15 + line + b"aaaa").wrong_at, 1042)
        self.assertIn("extensions", Decoding().error(b"0" * 15 + line + b"aaa").message)

    def test_extensions_in_all(self) -> None:
        """Many chunks may have as much of extensions as of data, and no more."""
        decoding = Decoding()
        for _ in range(100):
            decoding.feed(b"64;" + b"e" * 99 + b"\r\n" + b"x" * 100 + b"\r\n")
        for _ in range(1024 // 31):
            decoding.feed(b"1;" + b"e" * 31 + b"\r\nx\r\n")
        self.assertIn("extensions", decoding.error(b"1;" + b"e" * 62 + b"\r\n").message)

    def test_extensions_behind_much_data(self) -> None:
        """However much data came, no extension is longer than the bound."""
        decoding = Decoding()
        decoding.feed(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
        decoding.error(b"1;" + b"e" * (MAX_EXTENSION_BYTES + 17))

    def test_trailer_fields(self) -> None:
        """As many trailer fields may come as a head may have."""
        fields = b"a:b\r\n" * MAX_TRAILER_FIELDS
        decoding = Decoding()
        decoding.feed(b"0\r\n" + fields + b"\r\n")
        self.assertEqual(decoding.outcome, Outcome(rest=b""))
        self.assertIsInstance(Decoding().error(b"0\r\n" + fields + b"a:\r\n"), HeadersTooLarge)

    def test_trailer_bytes(self) -> None:
        """And as large, together or in one field."""
        for fields in (b"a:" + b"b" * (MAX_TRAILER_BYTES - 6), b"a:\r\nb:" + b"c" * 32_758):
            decoding = Decoding()
            decoding.feed(b"0\r\n" + fields + b"\r\n\r\n")
            self.assertEqual(decoding.outcome, Outcome(rest=b""))
            decoding = Decoding()
            decoding.feed(b"0\r\n" + fields)
            self.assertIsInstance(decoding.error(b"ddddd"), HeadersTooLarge)

    def test_fields_that_belong_into_the_head(self) -> None:
        """A trailer field that would frame or route the request is refused at its colon."""
        for name in (b"Content-Length", b"transfer-encoding", b"HOST", b"Connection", b"Trailer"):
            outcome = Decoding().feed_bytes(b"0\r\n" + name + b": x\r\n\r\n")
            self.assertEqual(outcome.wrong_at, 3 + len(name))
        for name in (b"Content-Lengths", b"X-Host", b"Digest"):
            self.assertEqual(Decoding().feed_bytes(b"0\r\n" + name + b": x\r\n\r\n").rest, b"")


class _Echo:
    router = Router()

    @router.route("/echo", methods=["POST"])
    def echo(self, request: Request) -> bytes:
        body: bytes = request.content.read()
        return body


class ServedTests(AppTestCase):
    """Chunked requests as the server answers them."""

    HEAD = b"POST /test/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

    def server(self) -> App:
        """Return a server that echoes, bodies of up to 1,000 bytes."""
        return self.app(_Echo().router, MAX_BODY_BYTES="1000")

    def test_next_request(self) -> None:
        """What comes behind a body is the next request, and a trailer is no part of it."""
        connection = self.server().connect()
        body = b'2;a="b"\r\nHe\r\n003\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n'
        connection.send((self.HEAD + body) * 2 + b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        bodies = [connection.response().body for _ in range(3)]
        self.assertEqual(bodies, [b"Hello", b"Hello", b'{"status":"ok"}'])
        self.assertFalse(connection.closed)

    def test_refused_at_once(self) -> None:
        """What is malformed gets 400 as soon as it is, one line in the log, and a close."""
        for body in (
            b"\n", b" ", b"+", b"-", b"0x", b"g", b";", b"1 \r", b"1\n", b"1\rx", b"1;\r", b"1;=",
            b"1;a=\r", b'1;a="\r', b'1;a=""b', b"1;a\n", b"1;\0", b"0" * 17,
            b"1\r\nab", b"1\r\na\n", b"1\r\na\rx", b"1\r\na\r\n\r",
            b"0\r\n\n", b"0\r\n\rx", b"0\r\n ", b"0\r\n:", b"0\r\na\r", b"0\r\na ", b"0\r\na:\n",
            b"0\r\na: \0", b"0\r\na: b\r\n ", b"0\r\nContent-Length:", b"0\r\nHost:",
        ):  # fmt: skip
            server = self.server()
            connection = server.connect()
            connection.send(self.HEAD + body[:-1])
            self.assertEqual(connection.received, b"", body)
            connection.send(body[-1:])
            response = connection.response()
            self.assertEqual((response.status, response.json["code"]), (400, "BAD_REQUEST"), body)
            self.assertTrue(connection.closed)
            connection.send(b"\r\n\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertEqual(connection.received, b"")
            self.assertEqual([line["status"] for line in server.lines("x121.access")], [400])

    def test_large_trailer(self) -> None:
        """A trailer larger than a head may be gets 431."""
        connection = self.server().connect()
        connection.send(self.HEAD + b"0\r\n" + b"a:\r\n" * 101)
        self.assertEqual(connection.response().status, 431)

    def test_large_body(self) -> None:
        """A chunk that would make the body too large gets 413 before its data comes."""
        for first in (b"", b"3e8\r\n" + b"x" * 1000 + b"\r\n"):
            server = self.server()
            connection = server.connect()
            connection.send(self.HEAD + first)
            self.assertEqual(connection.received, b"")
            connection.send(b"3e9\r\n" if not first else b"1\r\n")
            self.assertEqual(connection.response().status, 413)
            self.assertTrue(connection.closed)
            connection.send(b"x" * 10 + b"garbage")
            self.assertEqual(len(server.lines("x121.access")), 1)
