"""A ceiling: socketify, uWebSockets under Python: ``python -m bench.peers.on_socketify PORT``.

It serves ``/health`` alone, without features.
"""

from __future__ import annotations

import sys
from typing import Any

from socketify import App, AppListenOptions


def health(response: Any, _: Any) -> None:
    """Say that the server is there."""
    response.write_header("Content-Type", "application/json")
    response.end(b'{"status":"ok"}')


def main(port: str) -> None:
    """Serve until a signal comes."""
    app = App()
    app.get("/health", health)
    app.listen(AppListenOptions(port=int(port), host="127.0.0.1"), lambda _: None)
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
