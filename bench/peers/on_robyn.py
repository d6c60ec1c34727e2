"""A ceiling: Robyn, whose server is written in Rust: ``python -m bench.peers.on_robyn PORT``.

It serves ``/health`` alone, without features.
"""

from __future__ import annotations

import sys

from robyn import Config, Headers, Response, Robyn


def make_app() -> Robyn:
    """Return the application: one process, one worker, no pages of documentation."""
    config = Config()
    config.processes = config.workers = 1
    config.disable_openapi = True
    config.log_level = "WARN"
    return Robyn(__file__, config)


app = make_app()


@app.get("/health")
def health() -> Response:  # a coroutine would cost Robyn twice as much
    """Say that the server is there."""
    return Response(200, Headers({"Content-Type": "application/json"}), '{"status":"ok"}')


if __name__ == "__main__":
    app.start(host="127.0.0.1", port=int(sys.argv[1]))
