"""The peer: one Klein route on Twisted's own site, and nothing around it.

``python -m bench.bare_klein PORT [ACCESS_LOG]``.  Without a file for its access log the site
writes none, and doesn't format any either.
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
    """Return what x121 does."""
    request.setHeader(b"Content-Type", b"application/json")
    return b'{"status":"ok"}'


class SilentSite(Site):
    """A site without an access log."""

    def log(self, request: object) -> None:
        """Do nothing."""


def main(port: str, access_log: str | None = None) -> None:
    """Serve until a signal comes."""
    reactor: Any = installed_reactor
    resource = app.resource()
    site = Site(resource, logPath=access_log) if access_log else SilentSite(resource)
    reactor.listenTCP(int(port), site, interface="127.0.0.1", backlog=1024)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
