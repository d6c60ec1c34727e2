"""Heads: the contract's row on RFC 9112, on bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from unittest import mock
from urllib.parse import unquote_to_bytes

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from x121.errors import AppError, BadRequest, MethodNotAllowed, UriTooLong
from x121.http.head import MAX_TARGET_BYTES, METHODS, check_fields, check_head, serve_as_1_1
from x121.http.headers import Headers

SECRET = b"hunter2"
HOST = {b"Host": [b"example.com"]}


def check(
    target: bytes = b"/",
    headers: Mapping[bytes, Sequence[bytes]] = HOST,
    method: bytes = b"GET",
    version: bytes = b"HTTP/1.1",
) -> bytes:
    """Return the target of a head."""
    fields = Headers(headers)
    check_fields(fields)
    return check_head(method, target, version, fields)


class HeadTests(SynchronousTestCase):
    """What all tests here use."""

    def refused(
        self,
        target: bytes = b"/",
        headers: Mapping[bytes, Sequence[bytes]] = HOST,
        method: bytes = b"GET",
        version: bytes = b"HTTP/1.1",
    ) -> str:
        """Return why a head is a bad request."""
        error = self.assertRaises(BadRequest, check, target, headers, method, version)
        assert isinstance(error, BadRequest)
        return error.message


class HostTests(HeadTests):
    """``Host``."""

    def test_valid(self) -> None:
        """A name or address, with a port or not, is a host."""
        for host in (
            b"example.com",
            b"EXAMPLE.com:80",
            b"localhost:3000",
            b"a_b.example",
            b"example.com.",
            b"xn--bcher-kva.example",
            b"127.0.0.1:65535",
            b"[::1]",
            b"[2001:DB8::1]:443",
            b"[::ffff:192.0.2.1]",
            b"example.com:",
        ):
            self.assertEqual(check(headers={b"Host": [host]}), b"/")

    def test_missing(self) -> None:
        """HTTP/1.1 without a Host is refused; HTTP/1.0 is served."""
        self.assertIn("required", self.refused(headers={}))
        self.assertEqual(check(headers={}, version=b"HTTP/1.0"), b"/")

    def test_double(self) -> None:
        """Two Hosts are refused, equal ones and in HTTP/1.0 too."""
        for version in (b"HTTP/1.1", b"HTTP/1.0"):
            twice = {b"Host": [b"example.com", b"example.com"]}
            self.assertIn("more than one", self.refused(headers=twice, version=version))

    def test_invalid(self) -> None:
        """Anything else is refused, and not repeated."""
        for host in (
            b"",
            b" ",
            b"user@example.com",
            b"user:hunter2@example.com",
            b"example.com/",
            b"example.com/path",
            b"http://example.com",
            b"a.example, b.example",
            b"a.example,",
            b"a b",
            b"example.com:x",
            b"example.com:-1",
            b"example.com:+1",
            b"example.com:65536",
            b"example.com:000080",
            b"example.com:80:80",
            b":80",
            b"[::1",
            b"::1",
            b"[]",
            b"[:]",
            b"[1]",
            b"[:::1]",
            b"[::1]x",
            b"[::1%25eth0]",
            b"[v1.x]",
            b"b\xc3\xbccher.example",
            b"b%C3%BCcher.example",
            b"example.com?",
            b"example.com#",
            b"example\\com",
            b"<script>",
            b'a"b',
            b"a\tb",
            b"a\0",
        ):
            for version in (b"HTTP/1.1", b"HTTP/1.0"):
                message = self.refused(headers={b"Host": [host]}, version=version)
                self.assertNotIn("hunter2", message)


class TargetTests(HeadTests):
    """The request target."""

    def test_origin_form(self) -> None:
        """A path, with a query or not, is itself."""
        for target in (
            b"/",
            b"//",
            b"//evil.example/x",
            b"/a/../b",
            b"/a?b=c&d",
            b"/?",
            b"/a%20b%2Fc",
            b"/caf%C3%A9",
            b"/caf\xc3\xa9",
            b"/a:b@c",
            b"/http://example.org/",
            b"/*",
            b"/a?" + b"q" * (MAX_TARGET_BYTES - 3),
        ):
            self.assertEqual(check(target), target)

    def test_absolute_form(self) -> None:
        """An http URL that agrees with Host is its path."""
        for target, path in (
            (b"http://example.com/a?b", b"/a?b"),
            (b"https://example.com/a", b"/a"),
            (b"HTTP://Example.COM/a", b"/a"),
            (b"http://example.com", b"/"),
            (b"http://example.com?b", b"/?b"),
            (b"http://example.com//a", b"//a"),
        ):
            self.assertEqual(check(target), path)
            self.assertEqual(check(target, headers={}, version=b"HTTP/1.0"), path)

    def test_absolute_form_disagrees(self) -> None:
        """One that names another host than Host, or none, is refused."""
        for target in (
            b"http://example.org/",
            b"http://example.com:80/",
            b"http://example.com.evil.example/",
        ):
            self.assertIn("different hosts", self.refused(target))
        for target in (
            b"http://",
            b"http:///",
            b"http:/example.com/",
            b"http://user@example.com/",
            b"http://example.com\\@evil.example/",
            b"ftp://example.com/",
            b"http://example.com:99999/",
        ):
            self.refused(target)
            self.refused(target, headers={}, version=b"HTTP/1.0")

    def test_host_is_needed_beside_absolute_form(self) -> None:
        """An absolute URL does not replace Host."""
        self.assertIn("required", self.refused(b"http://example.com/", headers={}))

    def test_neither(self) -> None:
        """A target that is neither a path nor a URL is refused."""
        for target in (b"", b"a", b"a/b", b"?", b"example.com:80", b"-", b"http", b"**", b"*/"):
            self.refused(target)
            self.refused(target, method=b"OPTIONS")

    def test_asterisk(self) -> None:
        """``*`` is for OPTIONS alone."""
        self.assertEqual(check(b"*", method=b"OPTIONS"), b"*")
        for method in METHODS:
            if method != "OPTIONS":
                self.assertIn("OPTIONS", self.refused(b"*", method=method.encode()))

    def test_connect(self) -> None:
        """CONNECT is refused as a method that isn't there, with those that are."""
        for target in (b"example.com:443", b"/", b"*"):
            error = self.assertRaises(MethodNotAllowed, check, target, method=b"CONNECT")
            assert isinstance(error, AppError)
            self.assertEqual(
                error.headers, {"Allow": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}
            )

    def test_too_long(self) -> None:
        """A target above 8000 bytes is too long, and one of 8000 is not."""
        self.assertEqual(len(check(b"/" + b"a" * 7999)), 8000)
        for target in (b"/" + b"a" * 8000, b"/%" + b"a" * 8000, b"http://" + b"a" * 8000):
            self.assertRaises(UriTooLong, check, target)

    def test_percent(self) -> None:
        """A percent sign in a path is followed by two hexadecimal digits."""
        for target in (b"/%", b"/%2", b"/%zz", b"/%2/", b"/%%20", b"/a%-1", b"/% 20"):
            self.refused(target)
        self.assertEqual(check(b"/%ff".replace(b"ff", b"7f")), b"/%7f")

    def test_path_is_utf_8(self) -> None:
        """A path is UTF-8 once it is decoded."""
        for target in (b"/\xff", b"/%ff", b"/%C3", b"/%ED%A0%80", b"/%C0%AF", b"/%F5%80%80%80"):
            self.assertIn("UTF-8", self.refused(target))

    def test_nul(self) -> None:
        """A path holds no NUL, encoded or not."""
        for target in (b"/%00", b"/a%00b", b"/\0", b"http://example.com/%00"):
            self.refused(target)

    def test_control_characters(self) -> None:
        """No control character and no space stands in a target."""
        for number in (*range(0x21), 0x7F):
            for target in (b"/a%cb", b"/a?b%cc", b"http://example.com/%c"):
                self.refused(target % number)

    @settings(deadline=None)
    @given(st.binary() | st.text("/%a?#*:@.[]\0").map(str.encode))
    def test_any_target(self, target: bytes) -> None:
        """What is accepted begins with a slash, and its path decodes."""
        try:
            found = check(target)
        except AppError:
            return
        self.assertTrue(found.startswith(b"/"))
        self.assertNotIn("\0", unquote_to_bytes(found.partition(b"?")[0]).decode())
        self.assertEqual(check(found), found)


class FieldsTests(HeadTests):
    """Header fields."""

    def test_control_characters(self) -> None:
        """A field with a control character is refused; a tab is none."""
        for number in (*range(0x20), 0x7F):
            value = b"a%cb" % number
            headers = mock.Mock()
            headers.getAllRawHeaders.return_value = [(b"X", [b"fine", value])]
            if number == ord("\t"):
                self.assertEqual(check(headers={**HOST, b"X": [value]}), b"/")
            else:
                error = self.assertRaises(BadRequest, check_fields, headers)
                self.assertIn("control character", str(error))

    @given(st.binary())
    def test_any_value(self, value: bytes) -> None:
        """A value is accepted exactly if it holds no control character but the tab."""
        headers = mock.Mock(wraps=Headers(HOST))
        headers.getAllRawHeaders.side_effect = lambda: [(b"X", [value])]
        controls = re.search(rb"[\0-\x08\x0a-\x1f\x7f]", value)
        try:
            check_fields(headers)
        except BadRequest:
            self.assertTrue(controls)
        else:
            self.assertFalse(controls)

    def test_chunked(self) -> None:
        """The one Transfer-Encoding is chunked, in any case of letters."""
        for coding in (b"chunked", b"Chunked", b"CHUNKED"):
            self.assertEqual(check(headers={**HOST, b"Transfer-Encoding": [coding]}), b"/")

    def test_other_codings(self) -> None:
        """Any other, or chunked twice, is refused: nobody could say where the body ends."""
        for codings in (
            [b"gzip"],
            [b"gzip, chunked"],
            [b"chunked, gzip"],
            [b"chunked, chunked"],
            [b"chunked", b"chunked"],
            [b"identity"],
            [b""],
            [b"xchunked"],
            [b'"chunked"'],
            [b"chunked;q=1"],
            [b"chunked,"],
            [b"\x0bchunked"],
            [b"chun\xc3\xa7ked"],
        ):
            self.refused(headers={**HOST, b"Transfer-Encoding": codings})

    def test_coding_in_1_0(self) -> None:
        """HTTP/1.0 has no transfer codings."""
        headers = {**HOST, b"Transfer-Encoding": [b"chunked"]}
        self.assertIn("HTTP/1.1", self.refused(headers=headers, version=b"HTTP/1.0"))

    def test_length_with_chunked(self) -> None:
        """A length beside chunked is refused, whatever it is."""
        for length in (b"0", b"5", b""):
            headers = {**HOST, b"Transfer-Encoding": [b"chunked"], b"Content-Length": [length]}
            self.assertIn("exclude each other", self.refused(headers=headers))

    def test_messages_repeat_nothing(self) -> None:
        """No message repeats what the client sent."""
        for headers, target in (
            ({b"Host": [SECRET + b"@x"]}, b"/"),
            ({**HOST, b"Transfer-Encoding": [SECRET]}, b"/"),
            (HOST, SECRET),
            (HOST, b"/%" + SECRET),
            (HOST, b"http://" + SECRET),
        ):
            self.assertNotIn("hunter2", self.refused(target, headers))


class VersionTests(SynchronousTestCase):
    """``serve_as_1_1``."""

    def test_newer(self) -> None:
        """A minor version above 1 is served as 1.1."""
        for minor in range(2, 10):
            line = b"GET / HTTP/1.%d" % minor
            self.assertEqual(serve_as_1_1(line), b"GET / HTTP/1.1")

    def test_others(self) -> None:
        """Every other line stays what it is."""
        for line in (
            b"GET / HTTP/1.0",
            b"GET / HTTP/1.1",
            b"GET / HTTP/1.10",
            b"GET / HTTP/1.22",
            b"GET / HTTP/2.0",
            b"GET / http/1.2",
            b"GET /?x= HTTP/1.2 HTTP/1.1",
            b"GET / HTTP/1.2 ",
            b"GET /HTTP/1.2",
            b"",
        ):
            self.assertEqual(serve_as_1_1(line), line)
