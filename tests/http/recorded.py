"""Requests as curl 7.88, Chromium 156 and nginx 1.22 send them, recorded on a socket.

Each was one segment.  nginx has its defaults (HTTP/1.0, one request a connection), or keeps
connections to its upstream open.
"""

from __future__ import annotations

__all__ = ["GETS", "POSTS"]

_CURL = "User-Agent: curl/7.88.1\r\nAccept: */*\r\n"
_CHROMIUM = (
    'sec-ch-ua-platform: "Linux"\r\n'
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " HeadlessChrome/156.0.0.0 Safari/537.36\r\n"
    'sec-ch-ua: "Not:A-Brand";v="8", "Chromium";v="156"\r\n'
)
_CHROMIUM_END = "Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n"
_FORWARDED = "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n"
_JSON = "Content-Type: application/json\r\n"

GETS = {
    "curl": f"GET {{}} HTTP/1.1\r\nHost: 127.0.0.1:8790\r\n{_CURL}\r\n",
    "Chromium, a page": (
        "GET {} HTTP/1.1\r\nHost: 127.0.0.1:8790\r\nConnection: keep-alive\r\n"
        f"{_CHROMIUM}sec-ch-ua-mobile: ?0\r\nUpgrade-Insecure-Requests: 1\r\n"
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/jxl,image/avif,"
        "image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7\r\n"
        "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\n"
        f"Sec-Fetch-Dest: document\r\n{_CHROMIUM_END}\r\n"
    ),
    "nginx": (f"GET {{}} HTTP/1.0\r\nHost: 127.0.0.1:8790\r\nConnection: close\r\n{_CURL}\r\n"),
    "nginx, kept open": f"GET {{}} HTTP/1.1\r\nHost: 127.0.0.1\r\n{_FORWARDED}{_CURL}\r\n",
}
"""Requests by their clients, with ``{}`` for the path."""

POSTS = {
    "curl": (
        f"POST {{}} HTTP/1.1\r\nHost: 127.0.0.1:8790\r\n{_CURL}{_JSON}Content-Length: 12\r\n\r\n"
        '{{"text":"a"}}'
    ),
    "Chromium, fetch()": (
        "POST {} HTTP/1.1\r\nHost: 127.0.0.1:8790\r\nConnection: keep-alive\r\n"
        f"Content-Length: 12\r\n{_CHROMIUM}{_JSON}sec-ch-ua-mobile: ?0\r\nAccept: */*\r\n"
        "Origin: http://127.0.0.1:8790\r\nSec-Fetch-Site: same-origin\r\n"
        "Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nReferer: http://127.0.0.1:8790/\r\n"
        f'{_CHROMIUM_END}\r\n{{{{"text":"a"}}}}'
    ),
    "nginx": (
        "POST {} HTTP/1.0\r\nHost: 127.0.0.1:8790\r\nConnection: close\r\nContent-Length: 12\r\n"
        f'{_CURL}{_JSON}\r\n{{{{"text":"a"}}}}'
    ),
    "nginx, kept open": (
        f"POST {{}} HTTP/1.1\r\nHost: 127.0.0.1\r\n{_FORWARDED}Content-Length: 12\r\n{_CURL}"
        f'{_JSON}\r\n{{{{"text":"a"}}}}'
    ),
}
"""The same with a body of JSON, ``{"text":"a"}``."""
