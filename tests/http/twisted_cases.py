"""Runs Twisted's own cases for HTTP on our channels and requests, and writes what came of each.

``python -m tests.http.twisted_cases stock`` (or ``fast``) writes one JSON object.  Where those
cases take ``http.HTTPChannel``, ``http.Request``, ``server.Request`` and ``server.Site``, they get
ours.  What in our house is neither a channel's nor a request's business, because wrappers answer
refusals and the site dates answers, is here as those cases have it.  Our channels read on in the
next turn of the reactor.  Those cases have no reactor, so here the next turn comes at once.
"""

from __future__ import annotations

import json
import re
import sys
import unittest
from collections.abc import Iterable
from types import ModuleType
from typing import Any, NoReturn

import twisted.web
from twisted.internet.task import Clock
from twisted.web import http, server
from twisted.web.resource import IResource, Resource, getChildForRequest
from twisted.web.test import requesthelper

from tests.reactor.twisted_cases import _cases_in, _name_of, _outcome_of
from x121.core.clocks import wall_time
from x121.core.json_decoding import JsonLimits
from x121.errors import AppError, BadRequest, reason_phrase
from x121.http import intake
from x121.http.channel import Channel, Phase
from x121.http.chunked import ChunkedDecoder
from x121.http.fast import FastChannel
from x121.http.request import Request
from x121.http.site import Site
from x121.middleware.errors import Errors

CHANNELS = {"stock": Channel, "fast": FastChannel}
# What all of our answers have, and those of these cases don't.
_OURS = re.compile(rb"(?:Date: [^\r]*|Content-Type: unset)\r\n")

_READ_AHEAD_BYTES = intake._READ_AHEAD_BYTES


class PlainRequest(Request):
    """A request that nobody serves, and that doesn't say what its answer is."""

    defaultContentType = b"unset"

    def process(self) -> None: ...


class ServedRequest(Request):
    """A request that finds its resource as Twisted's do, below the wrapper for failures."""

    defaultContentType = b"text/html"

    def render(self, resrc: IResource) -> None:
        super().render(Errors(getChildForRequest(resrc, self)))


PlainRequest.__name__ = ServedRequest.__name__ = "Request"  # which they look for in its repr()


class PlainSite(Site):
    """A site with generous limits, made as Twisted's is."""

    channel_class: type[Channel]

    def __init__(self, resource: Any = None, *_: Any, reactor: Any = None, **__: Any) -> None:
        super().__init__(
            resource or Resource(),
            clock=reactor or Clock(),
            now=wall_time,
            max_body_bytes=1 << 20,
            json_limits=JsonLimits(max_json_bytes=1 << 20, max_json_values=10_000),
            header_timeout_secs=1000,
            request_timeout_secs=1000,
            keepalive_timeout_secs=1000,
            make_channel=self.channel_class,
        )

    def buildProtocol(self, addr: Any) -> Channel:  # type: ignore[override]
        channel = super().buildProtocol(addr)
        channel.requestFactory = ServedRequest
        return channel


def _make_head(self: Any, version: bytes, *of_the_answer: Any) -> bytes:
    """Return a head with nothing but what the request says."""
    head = _OURS.sub(b"", Channel.make_head(self, version, *of_the_answer))
    return head.replace(b"Connection: close\r\n", b"") if version == b"HTTP/1.0" else head


def make_immediate(channel_class: type[Channel]) -> type[Channel]:
    """Return a channel like ``channel_class``, whose next turn comes at once."""

    class ImmediateChannel(channel_class):  # type: ignore[valid-type,misc]
        @property
        def _optimisticEagerReadSize(self) -> int:
            """The limit of what is read ahead, under the name that those cases set."""
            return intake._READ_AHEAD_BYTES

        @_optimisticEagerReadSize.setter
        def _optimisticEagerReadSize(self, size: int) -> None:
            intake._READ_AHEAD_BYTES = size

        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            self.site.clock.advance(0)

        def requestDone(self, request: Any) -> None:
            super().requestDone(request)
            self.site.clock.advance(0)

        def resumeProducing(self) -> None:
            super().resumeProducing()
            self.site.clock.advance(0)

    return ImmediateChannel


def make_plain(channel_class: type[Channel]) -> type[Channel]:
    """Return a channel like ``channel_class``, which is enough for itself."""

    class PlainChannel(make_immediate(channel_class)):  # type: ignore[misc]
        requestFactory = PlainRequest
        make_head = _make_head

        def __init__(self) -> None:
            super().__init__()
            self.factory = self.site = PlainSite()
            self._optimisticEagerReadSize = _READ_AHEAD_BYTES

        def allHeadersReceived(self) -> None:
            """Name a host, as HTTP/1.1 demands, and those cases don't."""
            headers = self.requests[-1].requestHeaders
            if not headers.hasHeader(b"Host"):
                headers.setRawHeaders(b"Host", [b"a"])
            super().allHeadersReceived()

        def refuse(self, error: AppError) -> None:
            """Answer as Twisted does, without a request that would need wrappers."""
            if self.phase is not Phase.CLOSING:
                self._enter(Phase.CLOSING)
                reason = reason_phrase(error.status).encode()
                self.transport.write(b"HTTP/1.1 %d %b\r\n\r\n" % (error.status, reason))
                self.loseConnection()

    return PlainChannel


class DummyChannel(requesthelper.DummyChannel):
    """What those cases put requests on, with what ours ask of a channel besides."""

    is_trusted_proxy = False
    persistent = True
    make_head = _make_head

    def __init__(self, peer: Any = None) -> None:
        super().__init__(peer)
        self.site: Any = PlainSite()

    @property
    def peer(self) -> Any:
        return self.getPeer()

    @property
    def local(self) -> Any:
        return self.getHost()


def use(channel_class: type[Channel]) -> Iterable[ModuleType]:
    """Return the modules of Twisted's cases, which find our classes where they look for its."""
    plain = make_plain(channel_class)
    PlainSite.channel_class = plain
    vars(twisted.web)["http"] = _like(
        http,
        HTTPChannel=plain,
        HTTPFactory=_not_ours,
        Request=PlainRequest,
        _ChunkedTransferDecoder=ChunkedDecoder,
        _MalformedChunkedDataError=BadRequest,
    )
    vars(twisted.web)["server"] = _like(server, Request=ServedRequest, Site=PlainSite)
    sys.modules.setdefault("hamcrest", ModuleType("hamcrest"))  # for a case about HTTP/2
    from twisted.web.test import test_http, test_web

    vars(test_http)["_IDeprecatedHTTPChannelToRequestInterfaceProxy"] = _itself
    vars(test_web).update(Request=ServedRequest, Site=PlainSite)
    for module in (test_http, test_web):
        vars(module)["DummyChannel"] = DummyChannel
    return test_http, test_web


def _like(module: ModuleType, **different: Any) -> ModuleType:
    other = ModuleType(module.__name__)
    vars(other).update({**vars(module), **different})
    return other


def _not_ours(*_: Any, **__: Any) -> NoReturn:
    raise AssertionError("Twisted's own factory would make Twisted's own channels")


def _itself(request: Any) -> Any:
    """Return ``request``, and not only what Twisted's channel asks of one."""
    request.original = request
    return request


def main(kind: str) -> None:
    """Run all cases, and write what came of them to standard output."""
    outcomes = {}
    for module in use(CHANNELS[kind]):
        for case in _cases_in(unittest.defaultTestLoader.loadTestsFromModule(module)):
            outcomes[_name_of(case)] = _outcome_of(case)
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
