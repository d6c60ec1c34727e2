"""picows, on uvloop: ``python -m bench.peers.ws_picows PORT``.

At ``/echo`` a message is sent back; anywhere else it goes to everybody who is there.
"""

from __future__ import annotations

import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

_MESSAGES = (WSMsgType.TEXT, WSMsgType.BINARY)
_members: set[WSTransport] = set()


class Echo(WSListener):
    """Sends every message back."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Send a message back."""
        if frame.msg_type in _MESSAGES:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()


class Room(WSListener):
    """Sends every message to everybody."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Be one of everybody."""
        _members.add(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Send a message to everybody."""
        if frame.msg_type in _MESSAGES:
            payload = frame.get_payload_as_bytes()
            for member in _members:
                member.send(frame.msg_type, payload)
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Leave."""
        _members.discard(transport)


def listen(request: WSUpgradeRequest) -> WSListener:
    """Return who serves a connection."""
    return Echo() if request.path == b"/echo" else Room()


async def main(port: int) -> None:
    """Serve until a signal comes."""
    server = await ws_create_server(listen, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
