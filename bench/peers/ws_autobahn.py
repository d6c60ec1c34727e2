"""The peer: Autobahn's own WebSocket server with its own settings, and nothing around it.

``python -m bench.peers.ws_autobahn PORT``.  At ``/echo`` a message is sent back; anywhere else it
is sent to everybody.
"""

from __future__ import annotations

import sys
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet import reactor as installed_reactor


class Peer(WebSocketServerProtocol):
    """One connection."""

    def onConnect(self, request: Any) -> None:
        """Let everybody in."""
        self.echoes = request.path == "/echo"

    def onOpen(self) -> None:
        """Be one of everybody."""
        self.factory.peers.add(self)

    def onMessage(self, payload: bytes, is_binary: bool) -> None:
        """Send the message back or to everybody."""
        if self.echoes:
            self.sendMessage(payload, is_binary)
        else:
            self.factory.broadcast(payload, is_binary)

    def onClose(self, was_clean: bool, code: int, reason: str) -> None:
        """Leave."""
        self.factory.peers.discard(self)


class Factory(WebSocketServerFactory):
    """All connections."""

    protocol = Peer

    def __init__(self) -> None:
        super().__init__()
        self.peers: set[Peer] = set()

    def broadcast(self, payload: bytes, is_binary: bool) -> None:
        """Send ``payload`` to everybody, framed once."""
        message = self.prepareMessage(payload, is_binary)
        for peer in list(self.peers):
            peer.sendPreparedMessage(message)


def main(port: str) -> None:
    """Serve until a signal comes."""
    reactor: Any = installed_reactor
    reactor.listenTCP(int(port), Factory(), interface="127.0.0.1", backlog=1024)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
