"""The servers that are tested: x121 itself, with limits that let the suite's largest cases in."""

from __future__ import annotations

import http.client
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.conformance.suite import Failed
from tests.process.server import HOST, ServerProcess

__all__ = ["Target", "check_handshake", "running_x121"]

PATH = "/ws/echo"
_LARGEST_MESSAGE = 1 << 24  # cases 9.1.6 and 9.2.6
_HANDSHAKE_TIMEOUT_SECS = 10.0
_ENVIRON = {
    "DIAGNOSTICS": "true",
    "WS_MAX_MESSAGE_BYTES": str(_LARGEST_MESSAGE),
    "WS_SEND_BUFFER_BYTES": str(2 * _LARGEST_MESSAGE),
    # A case is about the frames that it sends: no ping of ours may come between.
    "WS_HEARTBEAT_INTERVAL_SECS": "3600",
    "SHUTDOWN_TIMEOUT_SECS": "10",
}


class Target:
    """An x121 that runs."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.url = f"ws://{HOST}:{server.port}{PATH}"

    def stop(self) -> list[str]:
        """Stop it in order, and return what was wrong with it, which ought to be nothing."""
        was_over = self._server.has_ended
        try:
            code = self._server.wait() if was_over else self._server.stop()
        except AssertionError as error:
            return [f"the server doesn't stop: {error}"]
        how = "ended by itself" if was_over else "stopped"
        wrong = [f"the server {how} with exit code {code}"] if code or was_over else []
        errors = [
            str(line.get("message", line))
            for level in ("error", "critical")
            for line in self._server.find(level=level)
        ]
        return [*wrong, *(f"the server logged an error: {text}" for text in dict.fromkeys(errors))]


@contextmanager
def running_x121(way: str, log: Path) -> Iterator[Target]:
    """Run x121 with ``X121_WEBSOCKET=way``, on an embedded PostgreSQL of its own.

    Everything it logs is then in ``log``.
    """
    with tempfile.TemporaryDirectory(prefix="x121-conformance-") as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)  # PostgreSQL may run as somebody else
        own = {"DB_DATA_DIR": str(folder / "postgres"), "X121_WEBSOCKET": way}
        server = ServerProcess(folder, {**_ENVIRON, **own})
        try:
            yield _started(server)
        finally:
            server.__exit__(None, None, None)  # as without an error: its log goes elsewhere
            log.write_bytes(b"".join([*server.raw, *server.errors]))


def _started(server: ServerProcess) -> Target:
    try:
        return Target(server)
    except AssertionError as error:
        said = b"".join([*server.raw, *server.errors]).decode(errors="replace")
        raise Failed(f"the server doesn't start: {error}\n{said}") from error


def check_handshake(url: str) -> None:
    """Raise :class:`Failed` unless ``url`` opens a WebSocket: else every single case would fail."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port, timeout=_HANDSHAKE_TIMEOUT_SECS
    )
    try:
        connection.request("GET", parts.path or "/", headers=_HANDSHAKE)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"{url} can't be reached: {error}") from error
    finally:
        connection.close()
    if status != http.HTTPStatus.SWITCHING_PROTOCOLS:
        raise Failed(f"{url} answers {status} to a handshake, not 101")


_HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",  # RFC 6455's own
}
