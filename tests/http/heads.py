"""Requests as nobody should send them, and as anybody may."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["AMBIGUOUS", "EVERY_BYTE", "LIMITS", "PLAIN", "STRANGE", "request"]

TARGET = b"/test/mirror"


def request(
    *fields: bytes,
    method: bytes = b"GET",
    target: bytes = TARGET,
    version: bytes = b"HTTP/1.1",
    host: bytes = b"Host: a\r\n",
    body: bytes = b"",
) -> bytes:
    """Return a request; ``fields`` are lines without their ends."""
    lines = b"".join(field + b"\r\n" for field in fields)
    return method + b" " + target + b" " + version + b"\r\n" + host + lines + b"\r\n" + body


def _post(*fields: bytes, body: bytes = b"12345", version: bytes = b"HTTP/1.1") -> bytes:
    return request(*fields, method=b"POST", body=body, version=version)


PLAIN = [
    request(),
    request(target=b"/health"),
    request(target=b"/nothing"),
    request(target=b"/test/mirror/a%20b/c?d=e&d=f&g"),
    request(target=b"/test/later"),
    request(b"Cookie: a=b; c=d", b"Accept: */*", b"X-Twice: 1", b"X-Twice: 2", b"x-lower: A"),
    request(b"Origin: http://localhost:5173"),
    request(b"X-Request-Id: given", b"X-Forwarded-For: 203.0.113.9", b"X-Forwarded-Proto: https"),
    request(b"Connection: keep-alive"),
    request(b"Connection: Keep-Alive"),
    request(b"A:", b"B:", b"C: c", b"D:", b"D: d", b"D:"),
    request(b"A:\t \tb c\t \t", b"B: \t", b"C:\xff\x80"),
    request(b"Content-Length: 0"),
    request(b"Content-Length: 5", body=b"12345"),
    request(b"Host: a", host=b""),
    request(b"host:a", host=b"A: b\r\n"),
    request(host=b"Host: [::1]:3000\r\n"),
    _post(b"Content-Length: 5"),
    _post(b"content-length:5"),
    _post(b"Content-Length: 0", body=b""),
    _post(body=b""),
    _post(b"Content-Length: 8", body=b"\r\n\r\n\r\n\r\n"),
    _post(b"Content-Length: 8000", body=b"x" * 8000),
    *(request(method=method) for method in (b"HEAD", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")),
]
"""What most clients send."""

AMBIGUOUS = [
    # two lengths, and lengths that are none
    *(
        _post(*fields)
        for fields in (
            (b"Content-Length: 5", b"Content-Length: 5"),
            (b"Content-Length: 5", b"Content-Length: 6"),
            (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
            (b"Content-Length: 5", b"Transfer-Encoding: identity"),
            (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: chunked", b"Transfer-Encoding:"),
            (b"Content_Length: 5",),
            (b"Content-Length : 5",),
            (b"Content-Length\t: 5",),
            (b" Content-Length: 5",),
            (b"Content-Length: 5", b" 6"),
            (b"X: y", b"\tContent-Length: 5"),
            (b"X:", b" y"),
            (b"X: y\rContent-Length: 5",),
            (b"X: y\nContent-Length: 5",),
            (b"X: y\r\r",),
        )
    ),
    *(
        _post(b"Content-Length:" + length)
        for length in (
            b"", b" ", b" 5 ", b"\t5\t", b"  5", b" +5", b" -5", b" 5,5", b" 5, 5", b" 5;", b" 05",
            b" 0000000000000005", b" 0x5", b" 5.0", b" 5e0", b" 1_0", b" 5 5", b" '5'", b' "5"',
            b" \x0b5", b" 5\x0c", b" \xb2", b" \xd9\xa5", b" 99999", b" " + b"9" * 18,
            b" 18446744073709551615", b" 18446744073709551616", b" 18446744073709551621",
            b" " + b"0" * 70 + b"5", b" " + b"9" * 4000,
        )
    ),
    *(
        _post(b"Transfer-Encoding:" + coding, body=b"5\r\n12345\r\n0\r\n\r\n")
        for coding in (
            b" chunked", b"chunked", b" Chunked ", b"\tchunked", b"", b" ", b" gzip", b" identity",
            b" gzip, chunked", b" chunked, gzip", b" chunked, chunked", b" xchunked", b" chunkedx",
            b' "chunked"', b" chunked;q=1", b" chunked,", b" ,chunked", b" \x0bchunked",
            b" chun\xc3\xa7ked", b" \x00chunked", b" chunked\r\n , identity",
        )
    ),
    _post(b"Transfer-Encoding: chunked", version=b"HTTP/1.0", body=b"0\r\n\r\n"),
    _post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    _post(b"Transfer-Encoding: chunked", body=b"5;a=b\r\n12345\r\n0\r\nA: b\r\n\r\n"),
    _post(b"Transfer-Encoding: chunked", body=b"5\n12345\r\n0\r\n\r\n"),
    _post(b"Transfer-Encoding: chunked", body=b"5 \r\n12345\r\n0\r\n\r\n"),
    _post(b"Transfer-Encoding: chunked", body=b"6\r\n12345\r\n0\r\n\r\n"),
    _post(b"Trailer: X", b"TE: trailers", b"Content-Length: 5"),
]  # fmt: skip
"""What one reader takes for a different request than another."""

STRANGE = [
    # lines
    b"\r\n" + request(),
    b"\r\n\r\n" + request(),
    b"\n" + request(),
    b"\r" + request(),
    b" " + request(),
    request().replace(b"\r\n", b"\n"),
    request().replace(b"\r\n", b"\r"),
    request(b"A: b").replace(b"b\r\n", b"b\n"),
    request(b"A: b")[:-2] + b"\n",
    request()[:-2] + b"\r\r\n",
    request() + b"\r\n",
    request() + b"\n",
    *(
        line + b"\r\nHost: a\r\n\r\n"
        for line in (
            b"", b"GARBAGE", b"GET", b"GET ", b"GET /health", b"GET  /health HTTP/1.1",
            b"GET /health  HTTP/1.1", b"GET /health HTTP/1.1 ", b"GET /health HTTP/1.1 x",
            b"GET\t/health HTTP/1.1", b"GET /health\tHTTP/1.1", b"GET /health HTTP/1.1\t",
            b"GET /health HTTP/1.1 HTTP/1.1", b"GET /a b HTTP/1.1", b" GET /health HTTP/1.1",
            b"GET /health HTTP", b"GET /health HTTP/", b"GET /health HTTP/1",
            b"GET /health HTTP/1.",
            b"GET /health HTTP/11", b"GET /health HTTP/1.11", b"GET /health HTTP/01.1",
            b"GET /health HTTP/1,1", b"GET /health http/1.1", b"GET /health Http/1.1",
            b"GET /health HTTPS/1.1", b"GET /health RTSP/1.0", b"GET /health ICE/1.0",
            b"SOURCE /health ICE/1.0", b"DESCRIBE /health RTSP/1.0", b"PRI * HTTP/2.0",
            b"get /health HTTP/1.1", b"Get /health HTTP/1.1", b"GETT /health HTTP/1.1",
            b"G /health HTTP/1.1", b"/health HTTP/1.1", b'"GET" /health HTTP/1.1',
            b"G-E.T /health HTTP/1.1", b"\x16\x03\x01\x02\x00\x01",
        )
    ),
    *(
        request(version=b"HTTP/" + version)
        for version in (b"0.9", b"1.0", b"1.2", b"1.9", b"2.0", b"3", b"9.9", b"1.10")
    ),
    *(request(version=b"HTTP/1.0", host=host) for host in (b"", b"Host: a\r\nHost: a\r\n")),
    request(b"Connection: keep-alive", version=b"HTTP/1.0"),
    # methods that llhttp knows, those that nobody does, and those of other protocols
    *(
        request(method=method)
        for method in (
            b"TRACE", b"CONNECT", b"COPY", b"LOCK", b"M-SEARCH", b"PROPFIND", b"PURGE", b"LINK",
            b"QUERY", b"SEARCH", b"ANNOUNCE", b"PLAY", b"FLUSH", b"BREW", b"X", b"!#$%&'*+-.^_`|~",
        )
    ),
    # targets
    *(
        request(target=target, host=b"Host: example.com\r\n")
        for target in (
            b"*", b"//", b"//test/mirror", b"/test//mirror", b"/test/../health", b"/a%2Fb", b"/%zz",
            b"/%", b"/%f", b"/a%00b", b"/%ff", b"/%c3%28", b"/caf\xc3\xa9", b"/\xff", b"/?a=%zz",
            b"/#a", b"/a#b", b"/?a#b", b"health", b"?a", b"http:/health", b"http://", b"http:///",
            b"http://example.com", b"http://example.com/health", b"HTTP://EXAMPLE.com/health?x=1",
            b"http://example.com?x", b"https://example.com/health", b"ftp://example.com/health",
            b"http://example.org/health", b"http://u@example.com/health",
            b"http://example.com:80/health", b"example.com:443", b"/http://example.org/",
            b"/|", b'/"', b"/<>", b"/{}", b"/\\", b"/^`", b"/health;a=b", b"/health?", b"/health??",
            b"/test/mirror?a=1;b=2&c&=d&%61=%62+c",
        )
    ),
    request(method=b"OPTIONS", target=b"*"),
    request(method=b"CONNECT", target=b"a:443"),
    request(b"Content-Length: 5", method=b"CONNECT", target=b"a:443", body=b"12345"),
    # Host
    *(
        request(host=host)
        for host in (
            b"", b"Host:\r\n", b"Host: \r\n", b"Host: a\r\nHost: a\r\n", b"Host: a\r\nhost: b\r\n",
            b"Host: u@a\r\n", b"Host: a/b\r\n", b"Host: a, b\r\n", b"Host: a b\r\n",
            b"Host: a:99999\r\n", b"Host: a:b\r\n", b"Host: a:\r\n", b"Host: http://a\r\n",
            b"Host: [::1\r\n", b"Host: a..b\r\n", b"Host: a.\r\n", b"Host: .\r\n",
            b"Host:a\r\n", b"Host:\ta\t\r\n", b"Host : a\r\n", b"HOST: A\r\n", b"Hos: a\r\n",
            b"Host: b\xc3\xbccher\r\n", b"Host: a\r\n b\r\n", b"Host: " + b"a." * 150 + b"\r\n",
        )
    ),
    # fields
    *(
        request(field)
        for field in (
            b"A", b":", b": b", b":b", b" ", b" :b", b"A b: c", b"A(: b", b"A@: b", b"\xc3\xa9: b",
            b'"A": b', b"A: b: c", b"A::b", b"A: ,", b"A:b\r\n\tc", b"A: b\x00", b"A: \x7f",
        )
    ),
    # asking for more
    *(
        request(b"Connection:" + options)
        for options in (
            b"", b" close", b" Close", b" closed", b" keep-alive, close", b"TE,close", b" close,",
            b" ,", b" keep-alive, keep-alive", b" keep-alive,", b" upgrade", b" x", b' "close"',
            b" close\r\nConnection: keep-alive", b" keep-alive\r\nConnection: close",
            b" keep-alive\r\nConnection: keep-alive", b" \xff",
        )
    ),
    request(b"Proxy-Connection: close"),
    request(b"Proxy-Connection: keep-alive", b"Keep-Alive: timeout=5"),
    request(b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAM"),
    request(b"Upgrade: websocket"),
    request(b"Upgrade:"),
    request(b"Connection: upgrade", b"Upgrade: foo/1"),
    request(
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        target=b"/ws",
        body=b'\x81\x8f\0\0\0\0{"type":"ping"}',
    ),
    *(
        request(b"Expect: " + what, b"Content-Length: 5", method=b"POST", body=b"12345")
        for what in (b"100-continue", b"100-Continue", b"", b"x", b"100-continue, x")
    ),
    request(b"Expect: 100-continue"),
]  # fmt: skip
"""What a client may send that is mistaken, old, new or hostile."""


def _every_byte() -> Iterator[bytes]:
    for byte in (bytes([number]) for number in range(256)):
        yield request(method=b"G" + byte + b"T")
        yield request(method=b"GET" + byte)
        yield request(method=byte)
        for place in (b"/test/mirror/a%sb", b"/test/mirror?a%sb", b"%s", b"/%s"):
            yield request(target=place % byte)
        for place in (b"HTTP/1.%s", b"HTTP/%s.1", b"HTTP/1%s1", b"HTTP%s1.1", b"HTTP/1.1%s"):
            yield request(version=place % byte)
        for place in (b"%s: b", b"A%s: b", b"A%sa: b", b"A:%sb", b"A: b%sc", b"A: b%s", b"A:%s"):
            yield request(place % byte)
        yield request(host=b"Host: a%s\r\n" % byte)
        yield request(b"Content-Length: 5" + byte, method=b"POST", body=b"12345")
        yield request(b"Content-Length:" + byte + b"5", method=b"POST", body=b"12345")
        yield request(b"Transfer-Encoding: chunked" + byte, body=b"0\r\n\r\n")
        yield request(b"Connection: close" + byte)
        yield request() + byte
        yield byte + request()
        yield request()[:-2] + byte + b"\n"
        yield request()[:-1] + byte


EVERY_BYTE = list(_every_byte())
"""Every byte in every kind of place."""


def _padded(size: int) -> bytes:
    """Return a request whose head has so many bytes."""
    return request(b"A: " + b"a" * (size - len(request(b"A: "))))


LIMITS = [
    *(request(*(b"A: %d" % number for number in range(more))) for more in (98, 99, 100, 101)),
    *(request(*[b"A:"] * more) for more in (99, 100, 5000)),
    *(_padded(size) for size in (16_383, 16_384, 16_385, 32_767, 32_768, 32_769, 60_000)),
    *(request(target=b"/" + b"a" * (size - 1)) for size in (7999, 8000, 8001, 16_000, 40_000)),
    *(request(target=b"/?" + b"%41" * 2666 + b"a" * more) for more in (0, 1)),
    *(request(b"N" * size + b": v") for size in (64, 65, 8000)),
    *(
        request(b"Content-Length: %d" % size, method=b"POST", body=b"x" * size)
        for size in (9_999, 10_000, 10_001, 16_000, 20_000)
    ),
]
"""What is just within or beyond a limit; bodies are for servers that take 10,000 bytes."""
