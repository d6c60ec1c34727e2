"""Twisted's own cases for channels and requests, which ship with it, on both of our channels.

Each passes, is about something that isn't ours, or stands in ``DIFFERENT`` with the reason; a name
there that Twisted doesn't have, or that isn't needed any more, is a failure too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.reactor.twisted_cases import PASSED

ROOT = Path(__file__).parents[2]

# Classes of cases that say nothing about channels and requests.
NOT_OURS = {
    "test_http.ClientStatusParsingTests": "clients",
    "test_http.DateTimeTests": "functions of Twisted's own",
    "test_http.GenericHTTPChannelTests": "how Twisted finds out whether to speak HTTP/2",
    "test_http.HTTPClientDeprecationTests": "clients",
    "test_http.HTTPClientSanitizationTests": "clients",
    "test_http.IdentityTransferEncodingTests": "a decoder of Twisted's own, used as it is",
    "test_http.MultilineHeadersTests": "clients",
    "test_http.QueryArgumentsTests": "functions of Twisted's own",
    "test_web.CombinedLogFormatterTests": "Twisted's own access log",
    "test_web.ExplicitHTTPFactoryReactor": "Twisted's own factory",
    "test_web.HTTPFactoryAccessLogTests": "Twisted's own access log",
    "test_web.LogEscapingTests": "Twisted's own access log",
    "test_web.ProxiedLogFormatterTests": "Twisted's own access log",
    "test_web.ResourceTests": "resources",
    "test_web.SessionTests": "sessions",
    "test_web.SiteAccessLogTests": "Twisted's own access log",
    "test_web.SiteTest": "Twisted's own site",
}

_HTTP_X = ("HTTP0_9Tests", "HTTP1_0Tests", "HTTP1_1Tests", "HTTP1_1_close_Tests")


class Difference(NamedTuple):
    """Why cases have another outcome, and what in it tells that this is the reason."""

    why: str
    shows: str
    cases: tuple[str, ...]


DIFFERENT = [
    Difference(
        "RFC 9112 section 5.2 lets a server refuse folded lines, and the contract does",
        "not enough values to unpack",
        ("test_http.ParsingTests.test_headersMultiline",),
    ),
    Difference(
        "the contract refuses control characters, other white space than tabs among them",
        "not enough values to unpack",
        ("test_http.ParsingTests.test_headerStripWhitespace",),
    ),
    Difference(
        "RFC 9112 section 6.1: HTTP/1.0 has no Transfer-Encoding, and who sends one is refused",
        "",
        (
            "test_http.ChunkingTests.test_multipartFormData",
            "test_http.ParsingTests.test_chunkedEncoding",
        ),
    ),
    Difference(
        "RFC 9112 section 7 knows no identity: what frames a body must be understood",
        "b'ok'",
        ("test_http.ParsingTests.test_transferEncodingIdentity",),
    ),
    Difference(
        "RFC 9110 section 2.5: a higher minor version is served as the highest that is known",
        "b'HTTP/1.1 200 OK",
        ("test_http.ParsingTests.test_invalidVersion",),
    ),
    Difference(
        "by the contract too many fields are 431, not 400",
        "431 Request Header Fields Too Large",
        ("test_http.ParsingTests.test_tooManyHeaders",),
    ),
    Difference(
        "RFC 9112 section 7.1.1: an extension has a name",
        "chunks are malformed",
        ("test_http.ChunkedTransferEncodingTests.test_long",),
    ),
    Difference(
        "a trailer that has no colon is malformed before it is too long",
        "chunks are malformed",
        ("test_http.ChunkedTransferEncodingTests.test_unfinishedTrailerHeader",),
    ),
    Difference(
        "the case sets a private limit of Twisted's decoder; for ours see LimitTests.test_trailer*",
        "BadRequest not raised",
        ("test_http.ChunkedTransferEncodingTests.test_tooLongTrailerHeader",),
    ),
    Difference(
        "the data of chunks that come together is handed on together, at the cost of one call",
        "[b'abc12345', b'0123456789'] != [b'abc', b'12345', b'0123456789']",
        (
            "test_http.ChunkedTransferEncodingTests.test_decoding",
            "test_http.ChunkedTransferEncodingTests.test_trailerHeaders",
        ),
    ),
    Difference(
        "the case looks at a private list; ours keeps no trailer fields",
        "no attribute '_trailerHeaders'",
        (
            "test_http.ChunkedTransferEncodingTests.test_short",
            "test_http.ChunkedTransferEncodingTests.test_shortTrailerHeader",
        ),
    ),
    Difference(
        "while responses wait no request begins, and reading pauses once 16 KiB of input are kept;"
        " see FlowTests and test_slow_readers.test_pipelined",
        "'producing' != 'paused'",
        tuple(
            f"test_http.ChannelProductionTests.test_HTTPChannel{case}"
            for case in (
                "PropagatesProducingFromTransportToTransport",
                "ToleratesDataWhenTransportPaused",
            )
        ),
    ),
    Difference(
        "the exception is the same and its text our own",
        "before the body's end",
        ("test_http.ChunkedTransferEncodingTests.test_earlyConnectionLose",),
    ),
    Difference(
        "a deadline isn't moved by each byte, or a client could hold a connection for ever",
        "True is not false",
        tuple(f"test_http.{kind}.test_requestBodyTimeout" for kind in _HTTP_X),
    ),
    Difference(
        "the case is about the timeouts of Twisted's own factory; for ours see DeadlineTests",
        "Twisted's own factory",
        (
            *(
                f"test_http.{kind}.{case}"
                for kind in _HTTP_X
                for case in (
                    "test_connectionLostAfterForceClose",
                    "test_requestBodyDefaultTimeout",
                    "test_transportForciblyClosed",
                    "test_transportNotAbortedAfterConnectionLost",
                    "test_transportNotAbortedWithZeroAbortTimeout",
                )
            ),
            "test_http.RequestTests.test_requestBodyTimeoutFromFactory",
        ),
    ),
    Difference(
        "the case is about Twisted's own factory, its channels or its access log",
        "Twisted's own factory",
        (
            "test_http.RequestTests.test_finishCleansConnection",
            "test_http.RequestTests.test_finishProducesLog",
            "test_http.RequestTests.test_stopFactoryInvalidState",
        ),
    ),
    Difference(
        "Twisted itself skips it: nobody speaks HTTP/0.9",
        "HTTP/0.9 not supported",
        ("test_http.HTTP0_9Tests.test_noPipelining",),
    ),
    Difference(
        "a producer is stopped once its request knows that the client has left, a moment later:"
        " its end before that would look like a failure of the handler's",
        "['stop']",
        ("test_http.ChannelProductionTests.test_HTTPChannelStopRequestProducer",),
    ),
    Difference(
        "reason phrases are those of RFC 9110",
        "418 I'm a Teapot",
        ("test_http.RequestTests.test_setResponseCode418",),
    ),
    Difference(
        "whether an answer is the connection's last is known, and told, when its head is written",
        "[(b'Connection', [b'close'])]",
        ("test_http.PersistenceTests.test_http11Close",),
    ),
    Difference(
        "forms are parsed by handlers, within their deadline and their errors",
        "",
        (
            "test_http.ParsingTests.test_formPOSTRequest",
            "test_http.ParsingTests.test_multipartFilesData",
            "test_http.ParsingTests.test_multipartFormData",
            "test_http.ParsingTests.test_multipartProcessingFailure",
            "test_web.RequestTests.test_parsePOSTFormSubmissionSetFromSite",
        ),
    ),
    Difference(
        "a producer that is left is logged as an error, without a traceback that leads nowhere",
        "log_failure",
        ("test_http.RequestTests.test_finishProducerStillRegistered",),
    ),
    Difference(
        "a header that a handler has set stays, as it does in Twisted, but isn't warned of",
        "1 != 0",
        ("test_http.RequestTests.test_lastModifiedAlreadyWritten",),
    ),
    Difference(
        "405 is the answer to every method that isn't there, and has no page to quote in",
        "405",
        (
            "test_web.AllowedMethodsTests.test_notAllowedQuoting",
            "test_web.AllowedMethodsTests.test_notImplementedQuoting",
            "test_web.NewRenderTests.testBadMethods",
        ),
    ),
    Difference(
        "HEAD is for a resource to answer, as routes and every Resource do, and isn't faked",
        "!= ",
        (
            "test_web.NewRenderTests.testImplicitHead",
            "test_web.NewRenderTests.test_unsupportedHeadReturn",
            "test_web.NewRenderTests.test_unsupportedHeadWrite",
        ),
    ),
    Difference(
        "a resource that renders something else than bytes has a fault, which is logged",
        "(expected bytes)",
        (
            "test_web.NewRenderTests.test_noBytesResult",
            "test_web.RememberURLTests.testRoot",
            "test_web.RememberURLTests.testSimple",
        ),
    ),
    Difference(
        "encoders are found by Twisted's own site, at its root; ours has the wrappers there",
        "Content-Length",
        tuple(
            f"test_web.GzipEncoderTests.{case}"
            for case in (
                "test_alreadyEncoded",
                "test_encoding",
                "test_multipleAccept",
                "test_multipleEncodingLines",
                "test_whitespaceInAcceptEncoding",
            )
        ),
    ),
    Difference(
        "the case asks after the answer; only a request of the kind that is queued, which no"
        " channel has made since Twisted 16.3, still knows its channel then",
        "b'http://example.com",
        (
            "test_web.RequestTests.testPrePathURLHTTPPortAndSSL",
            "test_web.RequestTests.testPrePathURLSSLNonDefault",
            "test_web.RequestTests.testPrePathURLSSLPortAndSSL",
        ),
    ),
    Difference(
        "OPTIONS * is answered by a wrapper, and * with another method refused by the channel",
        "False is not true",
        (
            "test_web.RequestTests.test_OPTIONSStar",
            "test_web.RequestTests.test_rejectNonOPTIONSStar",
        ),
    ),
    Difference(
        "what goes wrong is answered by a wrapper, and never with a page or a traceback",
        "Exception",
        (
            "test_web.RequestTests.test_processingFailedDisplayTraceback",
            "test_web.RequestTests.test_processingFailedDisplayTracebackHandlesUnicode",
            "test_web.RequestTests.test_processingFailedNoTraceback",
            "test_web.RequestTests.test_processingFailedNoTracebackByDefault",
        ),
    ),
    Difference(
        "where a body is kept is bounded by the request; exactly 100,000 bytes are in memory",
        "",
        (
            "test_web.RequestTests.test_defaultLargerContentFile",
            "test_web.RequestTests.test_siteSuppliedContentFile",
        ),
    ),
]

EXPLAINED = {case: difference for difference in DIFFERENT for case in difference.cases}


@pytest.fixture(scope="module", params=["stock", "fast"])
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Return what came of each case on one of our channels, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.http.twisted_cases", request.param],
        capture_output=True,
        check=False,
        cwd=tmp_path_factory.mktemp("twisted_http_cases"),  # they leave files
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    outcomes: dict[str, str] = json.loads(done.stdout)
    return outcomes


def _class_of(name: str) -> str:
    return name.rpartition(".")[0]


def _surprise(name: str, outcome: str) -> str | None:
    """Return what is wrong with what came of a case, or None if it is as it should be."""
    if _class_of(name) in NOT_OURS:
        return None
    if name not in EXPLAINED:
        return None if outcome == PASSED else outcome
    fits = outcome != PASSED and EXPLAINED[name].shows in outcome
    return None if fits else f"differs in another way, or not at all:\n{outcome}"


def test_every_case(outcomes: dict[str, str]) -> None:
    """Every case about what is ours passes, but those that are explained."""
    surprises = {name: _surprise(name, outcome) for name, outcome in outcomes.items()}
    found = "\n\n".join(f"{name}: {what}" for name, what in surprises.items() if what)
    assert not found, found


def test_explained_cases(outcomes: dict[str, str]) -> None:
    """What is explained is there, once."""
    assert EXPLAINED.keys() <= outcomes.keys()
    assert len(EXPLAINED) == sum(len(difference.cases) for difference in DIFFERENT)
    assert NOT_OURS.keys() <= set(map(_class_of, outcomes))
    assert not NOT_OURS.keys() & set(map(_class_of, EXPLAINED))


def test_cases_are_many(outcomes: dict[str, str]) -> None:
    """What is run are Twisted's cases, and not what little of them was found."""
    ours = [name for name in outcomes if _class_of(name) not in NOT_OURS]
    assert sum(outcomes[name] == PASSED for name in ours) > 150
