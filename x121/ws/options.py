"""Autobahn's options: every one is set here, with its reason.

Autobahn's own defaults are open: no limits, every origin, no close frame before a disconnect.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Options"]


class _Silence:
    """Logger that discards everything: Autobahn logs whole handshakes, secrets included."""

    def _nothing(self, *_: object, **__: object) -> None: ...

    trace = debug = info = warn = error = failure = critical = _nothing


class Options:
    """Mixin with the options, as attributes of a protocol.

    Two depend on the configuration and are set by the protocol: ``maxMessagePayloadSize``, and
    the maximum number of frames in a message, which follows from it.
    """

    # Autobahn copies the options named here from its factory to each connection.
    CONFIG_ATTRS: Any = ()

    # The handshake.  x121.ws.handshake has checked it, and rejects in the contract's form;
    # Autobahn never gets one that it would reject.
    versions = (13,)  # RFC 6455; 8 is a draft's
    webStatus = False
    serveFlashSocketPolicy = False
    flashSocketPolicy = ""
    allowedOrigins = ("*",)
    allowedOriginsPatterns = ()
    allowNullOrigin = True
    trustXForwardedFor = 0
    openHandshakeTimeout = 0  # HTTP's timeout for a request's head applies
    maxConnections = 0  # the limit of open files bounds them

    # Frames.
    requireMaskedClientFrames = True  # RFC 6455 section 5.1
    maskServerFrames = False
    applyMask = True
    utf8validateIncoming = True  # while a message arrives: 1007 doesn't wait for its end
    maxFramePayloadSize = 0  # the message's size is limited, however it is split into frames
    autoFragmentSize = 0
    # A compressor costs some 300 KiB per connection, and a broadcast one frame per connection.
    perMessageCompressionAccept: Any = staticmethod(lambda offers: None)
    tcpNoDelay = True  # small messages should not wait for one another

    # Closing.
    failByDrop = False  # send the reason (1002, 1007, 1009) before the disconnect
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
