"""The package ws, with which programs under Node.js speak WebSocket, against the server."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.node import install
from tests.process.server import DEADLINE_SECS, HOST, ServerProcess, database_environ
from x121.testing.postgres import Postgres

SCRIPT = Path(__file__).parent / "node" / "client.mjs"
PACKAGE = "ws@8"
ORIGIN = "http://pages.test"
LIMIT = 300 * 1024


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the client's script, in a folder where Node.js finds the package that it needs."""
    return install(SCRIPT, PACKAGE, tmp_path_factory.mktemp("node"))


@pytest.fixture(scope="module")
def environ(postgres: Postgres) -> dict[str, str]:
    """Return what starts a server with an echo, for one origin and messages of 300 KiB."""
    environ = database_environ(postgres.config(postgres.create_database()))
    return environ | {
        "DIAGNOSTICS": "true",
        "CORS_ORIGINS": ORIGIN,
        "WS_MAX_MESSAGE_BYTES": str(LIMIT),
    }


@pytest.fixture(scope="module")
def server(
    speed: str, environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """Return the server that the tests of this module share; none of them ends it."""
    with ServerProcess(tmp_path_factory.mktemp("server"), environ) as server:
        yield server


def run(script: Path, server: ServerProcess, path: str = "/ws", **plan: Any) -> dict[str, Any]:
    """Return what the client saw that did what ``plan`` says; see the script."""
    url = f"ws://{HOST}:{server.port}{path}"
    done = subprocess.run(
        ["node", str(script)],
        input=json.dumps({"url": url, "options": {}, "send": [], **plan}),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def binary(data: bytes) -> dict[str, str]:
    """Return a binary message as the script has it."""
    return {"base64": base64.b64encode(data).decode()}


def test_messages(script: Path, server: ServerProcess) -> None:
    """It is let in, welcomed and answered, without compression; its code comes back to it."""
    ping = json.dumps({"type": "ping", "id": "a"})
    seen = run(script, server, options={"origin": ORIGIN}, send=[ping], until=2)
    welcome, reply = map(json.loads, seen["messages"])
    assert welcome["type"] == "welcome"
    assert reply == {"type": "reply", "id": "a", "data": "pong"}
    assert seen["extensions"] == ""
    assert (seen["close"]["code"], seen["error"]) == (1000, None)
    server.wait_for("WebSocket closed", connection_id=welcome["data"]["connection_id"], code=1000)


def test_echo(script: Path, server: ServerProcess) -> None:
    """Its messages come back as they were sent, in their order, text as text, bytes as bytes."""
    sent = [
        "Gr\u00fc\u00dfe \U0001f642",
        binary(bytes(range(256)) * (LIMIT // 256)),
        "",
        binary(b""),
    ]
    seen = run(script, server, "/ws/echo", send=sent, until=len(sent))
    assert seen["messages"] == sent
    assert (seen["close"]["code"], seen["error"]) == (1000, None)


def test_too_large(script: Path, server: ServerProcess) -> None:
    """A message over the limit closes its connection with 1009."""
    seen = run(script, server, "/ws/echo", send=[binary(bytes(LIMIT + 1))])
    assert (seen["messages"], seen["close"]["code"], seen["error"]) == ([], 1009, None)


def test_wrong_origin(script: Path, server: ServerProcess) -> None:
    """From another origin it is answered with 403."""
    seen = run(script, server, options={"origin": ORIGIN + ".evil.test"})
    assert (seen["refused"], seen["messages"]) == (403, [])


def test_stop(script: Path, environ: dict[str, str], tmp_path: Path) -> None:
    """A stop of the server closes it with 1001, which it answers: nothing is dropped."""
    with ServerProcess(tmp_path, environ) as server, ThreadPoolExecutor(1) as executor:
        running = executor.submit(run, script, server)
        server.wait_for("WebSocket connected")
        assert server.stop() == 0
        seen = running.result(DEADLINE_SECS)
        assert (seen["close"]["code"], seen["error"]) == (1001, None)
        assert len(seen["messages"]) == 1
        assert server.lines[-1]["websockets_closed"] == 1
