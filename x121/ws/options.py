"""Autobahn's options: every one of them, on purpose, with its reason.

Autobahn's own defaults are open: no limits, every origin, no word before it hangs up.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Options"]


class _Silence:
    """A log that nobody hears: in Autobahn's are whole handshakes, secrets included."""

    def _nothing(self, *_: object, **__: object) -> None: ...

    trace = debug = info = warn = error = failure = critical = _nothing


class Options:
    """The options, where Autobahn looks for them.

    Two depend on the configuration and are set by the protocol: ``maxMessagePayloadSize``, and
    with it how many frames a message may have.
    """

    # Autobahn copies its factory's options to each connection, unless they are there.
    CONFIG_ATTRS: Any = ()

    # The handshake.  It was judged before, by x121.ws.handshake, which answers in the contract's
    # form; Autobahn gets none that it would refuse.
    versions = (13,)  # RFC 6455; 8 is a draft's
    webStatus = False
    serveFlashSocketPolicy = False
    flashSocketPolicy = ""
    allowedOrigins = ("*",)
    allowedOriginsPatterns = ()
    allowNullOrigin = True
    trustXForwardedFor = 0
    openHandshakeTimeout = 0  # it came whole, in the time that HTTP gives a request's head
    maxConnections = 0  # open files are what bounds them

    # Frames.
    requireMaskedClientFrames = True  # RFC 6455 section 5.1
    maskServerFrames = False
    applyMask = True
    utf8validateIncoming = True  # as it comes in: 1007 doesn't wait for the message's end
    maxFramePayloadSize = 0  # the message's size counts, however it is cut into frames
    autoFragmentSize = 0
    # A compressor costs some 300 KiB a connection, and in a broadcast a frame for each of them.
    perMessageCompressionAccept: Any = staticmethod(lambda offers: None)
    tcpNoDelay = True  # small messages should not wait for one another

    # The end.
    failByDrop = False  # say what was wrong (1002, 1007, 1009) before hanging up
    echoCloseCodeReason = True  # RFC 6455 section 5.5.1: "typically echoes the status code"

    # Time.  Autobahn's timers don't use our clock: see x121.ws.heartbeat, and the protocol.
    closeHandshakeTimeout = 0
    autoPingInterval = 0
    autoPingTimeout = 0
    autoPingSize = 12
    autoPingRestartOnAnyTraffic = False

    # Logs.
    log: Any = _Silence()
    logOctets = False
    logFrames = False
    trackTimings = False
