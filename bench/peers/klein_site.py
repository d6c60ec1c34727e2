"""What x121 is built on: one Klein route on Twisted's own site, and nothing around it.

``python -m bench.peers.klein_site PORT``.  It runs beside x121, with the same libraries.
"""

from __future__ import annotations

import sys
from typing import Any

from klein import Klein
from twisted.internet import reactor as installed_reactor
from twisted.web.iweb import IRequest
from twisted.web.server import Site

app = Klein()


@app.route("/health")
def health(request: IRequest) -> bytes:
    """Say that the server is there."""
    request.setHeader(b"Content-Type", b"application/json")
    return b'{"status":"ok"}'


class SilentSite(Site):
    """A site without an access log."""

    def log(self, request: object) -> None:
        """Do nothing."""


def main(port: str) -> None:
    """Serve until a signal comes."""
    reactor: Any = installed_reactor
    reactor.listenTCP(int(port), SilentSite(app.resource()), interface="127.0.0.1", backlog=2048)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
