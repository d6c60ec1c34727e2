"""A page in Chromium, of an allowed origin and of another one, against the server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

from tests.process.browser import running
from tests.process.server import HOST, ServerProcess, database_environ, wait_until
from tests.readme import block
from x121.testing.postgres import Postgres

# The page's query names the server.  What it has seen it posts to where it came from.
PAGE = """<!doctype html>
<meta charset="utf-8">
<script type="module">
const server = location.search.slice(1);

async function ask(options) {
  try {
    const url = `http://${server}/trials/cookie`;
    const response = await fetch(url, { credentials: "include", ...options });
    return { cookie: await response.json(), requestId: response.headers.get("X-Request-Id") };
  } catch (error) {
    return error.name;
  }
}

function speak(path, message, until) {
  const socket = new WebSocket(`ws://${server}${path}`);
  socket.binaryType = "arraybuffer";
  const heard = [];
  socket.onopen = () => {
    if (message !== undefined) socket.send(message);
  };
  socket.onmessage = ({ data }) => {
    heard.push(typeof data === "string" ? data : Array.from(new Uint8Array(data)));
    if (heard.length === until) socket.close(1000);
  };
  return new Promise((resolve) => {
    socket.onclose = ({ code, wasClean }) => resolve({ heard, code, wasClean });
  });
}

const json = { "Content-Type": "application/json" };
const seen = location.pathname === "/stay" ? await speak("/ws") : {
  simple: await ask({}),
  preflighted: await ask({ method: "POST", headers: json, body: "{}" }),
  messages: await speak("/ws", '{"type": "ping", "id": 1}', 2),
  text: await speak("/ws/echo", "Gr\u00fc\u00dfe", 1),
  bytes: await speak("/ws/echo", new Uint8Array([0, 127, 128, 255]), 1),
};
await fetch("/seen", { method: "POST", body: JSON.stringify(seen) });
</script>
"""

# Uses the README's live.js, and posts what it hears whenever it is welcomed.
LIVE_PAGE = """<!doctype html>
<script type="module">
import { live } from "/live.js";
const page = live(`ws://${location.search.slice(1)}/ws`, {
  async welcomed(data) {
    const failure = await page.ask("nonsense").catch(({ code }) => code);
    const seen = { id: data.connection_id, reply: await page.ask("ping"), failure };
    await fetch("/seen", { method: "POST", body: JSON.stringify(seen) });
  },
});
</script>
"""
# Uses it with sockets and timers of its own, and posts what it did with them.
STOPPING_PAGE = """<!doctype html>
<script type="module">
import { live } from "/live.js";
const sockets = [], timers = new Map();
let timer = 0;
window.WebSocket = class {
  static OPEN = 1;
  constructor() { sockets.push(this); }
  close() {}
};
window.setTimeout = (call) => { timers.set(++timer, call); return timer; };
window.clearTimeout = (number) => timers.delete(number);
const lose = (code) => sockets.at(-1).onclose({ code });
const passTime = () => {
  const calls = [...timers.values()];
  timers.clear();
  for (const call of calls) call();
};

const page = live("ws://nowhere.test/ws");
const refused = await page.ask("ping").catch(({ message }) => message);
for (const code of [1001, 1006, 1011, 1013]) { lose(code); passTime(); }
const tries = sockets.length;
lose(1006);
page.stop();
passTime();
const given = [];
for (const code of [1000, 1002, 1007, 1009, 4000]) {
  live("ws://nowhere.test/ws");
  lose(code);
  given.push(timers.size);
}
const seen = { refused, tries, after: sockets.length - given.length, given };
await fetch("/seen", { method: "POST", body: JSON.stringify(seen) });
</script>
"""
FILES = {
    "/stopping": ("text/html", STOPPING_PAGE),
    "/live": ("text/html", LIVE_PAGE),
    "/live.js": ("text/javascript", block("live.js")),
}


# --- the pages ----------------------------------------------------------------------------


class _PageHandler(BaseHTTPRequestHandler):
    server: Pages

    def do_GET(self) -> None:
        kind, text = FILES.get(self.path.partition("?")[0], ("text/html", PAGE))
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        # Cookies know hosts and no ports: the server under test gets it, too.
        self.send_header("Set-Cookie", "trial=chocolate; HttpOnly; SameSite=Strict")
        self.end_headers()
        self.wfile.write(text.encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        self.server.seen.append(json.loads(body))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Say nothing."""


class Pages(ThreadingHTTPServer):
    """Serves the page on a port, and with it an origin, of its own; keeps what is posted."""

    def __init__(self) -> None:
        super().__init__((HOST, 0), _PageHandler)
        self.seen: list[Any] = []
        self.origin = f"http://{HOST}:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


@pytest.fixture(scope="module")
def allowed() -> Iterator[Pages]:
    """Return the pages that may use the server."""
    with Pages() as pages:
        yield pages


@pytest.fixture(scope="module")
def foreign() -> Iterator[Pages]:
    """Return pages that may not."""
    with Pages() as pages:
        yield pages


# --- the browser --------------------------------------------------------------------------


Browse = Callable[[Pages, str, ServerProcess], Callable[[], Any]]


@pytest.fixture
def browse(chromium: str, tmp_path: Path) -> Iterator[Browse]:
    """Return what opens a page with a path for a server, and returns what waits for its post."""
    with ExitStack() as stack:

        def open_page(pages: Pages, path: str, server: ServerProcess) -> Callable[[], Any]:
            pages.seen.clear()
            url = f"{pages.origin}{path}?{HOST}:{server.port}"
            browser = stack.enter_context(running(chromium, tmp_path, url))

            def wait() -> Any:
                wait_until(lambda: pages.seen or browser.poll() is not None, "the page's post")
                assert pages.seen, (tmp_path / "output").read_text(errors="replace")
                return pages.seen[0]

            return wait

        yield open_page


# --- the server ---------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path, postgres: Postgres, allowed: Pages) -> Iterator[ServerProcess]:
    """Return a server that allows the one origin, and has an echo."""
    environ = database_environ(postgres.config(postgres.create_database()))
    environ |= {"CORS_ORIGINS": allowed.origin, "DIAGNOSTICS": "true"}
    (tmp_path / "server").mkdir()
    with ServerProcess(tmp_path / "server", environ, trials=True) as server:
        yield server


def asked(server: ServerProcess, count: int) -> list[tuple[str, str, int]]:
    """Return method, path and status of ``count`` requests, once they are logged."""
    wait_until(lambda: len(server.find(logger="x121.access")) >= count, "the requests' lines")
    lines = server.find(logger="x121.access")
    return [(line["method"], line["path"], line["status"]) for line in lines]


def test_allowed(browse: Browse, allowed: Pages, server: ServerProcess) -> None:
    """A page of an allowed origin asks with its cookie, reads the answers, and speaks WebSocket."""
    seen = browse(allowed, "/", server)()
    assert asked(server, 6) == [
        ("GET", "/trials/cookie", 200),
        ("OPTIONS", "/trials/cookie", 204),
        ("POST", "/trials/cookie", 200),
        ("GET", "/ws", 101),
        ("GET", "/ws/echo", 101),
        ("GET", "/ws/echo", 101),
    ]
    ids = [line["request_id"] for line in server.find(path="/trials/cookie")]
    assert seen["simple"] == {"cookie": "chocolate", "requestId": ids[0]}
    assert seen["preflighted"] == {"cookie": "chocolate", "requestId": ids[-1]}
    welcome, reply = map(json.loads, seen["messages"].pop("heard"))
    assert welcome["type"] == "welcome"
    assert reply == {"type": "reply", "id": 1, "data": "pong"}
    clean = {"code": 1000, "wasClean": True}
    assert seen["messages"] == clean
    assert seen["text"] == {"heard": ["Gr\u00fc\u00dfe"], **clean}
    assert seen["bytes"] == {"heard": [[0, 127, 128, 255]], **clean}


def test_foreign(browse: Browse, foreign: Pages, server: ServerProcess) -> None:
    """A page of another origin reads nothing, and its WebSockets are refused with 403."""
    seen = browse(foreign, "/", server)()
    refused = {"heard": [], "code": 1006, "wasClean": False}
    assert seen == {
        "simple": "TypeError",
        "preflighted": "TypeError",
        "messages": refused,
        "text": refused,
        "bytes": refused,
    }
    assert asked(server, 5) == [
        ("GET", "/trials/cookie", 200),
        ("OPTIONS", "/trials/cookie", 403),
        ("GET", "/ws", 403),
        ("GET", "/ws/echo", 403),
        ("GET", "/ws/echo", 403),
    ]


def test_stop(browse: Browse, allowed: Pages, server: ServerProcess) -> None:
    """A stop of the server reaches the page as a clean close with 1001; nothing is dropped."""
    wait_for_seen = browse(allowed, "/stay", server)
    server.wait_for("WebSocket connected")
    assert server.stop() == 0
    assert server.lines[-1]["websockets_closed"] == 1
    seen = wait_for_seen()
    assert (seen["code"], seen["wasClean"], len(seen["heard"])) == (1001, True, 1)


def test_readme_page(
    browse: Browse, allowed: Pages, tmp_path: Path, postgres: Postgres, free_port: int
) -> None:
    """The README's page connects again to a server that was stopped and started."""
    environ = database_environ(postgres.config(postgres.create_database()))
    environ |= {"CORS_ORIGINS": allowed.origin, "SERVER_PORT": str(free_port)}
    (tmp_path / "server").mkdir()
    with ServerProcess(tmp_path / "server", environ) as server:
        browse(allowed, "/live", server)()
        assert server.stop() == 0
    with ServerProcess(tmp_path / "server", environ):
        wait_until(lambda: len(allowed.seen) == 2, "the page's return")
    first, second = allowed.seen
    assert first.pop("id") != second.pop("id")
    assert first == second == {"reply": "pong", "failure": "NOT_FOUND"}


def test_readme_page_gives_up(browse: Browse, allowed: Pages, server: ServerProcess) -> None:
    """The README's page comes back after losses, but not when it was stopped or is at fault."""
    assert browse(allowed, "/stopping", server)() == {
        "refused": "not connected",
        "tries": 5,
        "after": 5,
        "given": [0, 0, 0, 0, 0],
    }
