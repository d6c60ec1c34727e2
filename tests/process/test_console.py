"""The console as its visitor sees it, in Chromium, of a real server under some load."""

from __future__ import annotations

import base64
import http.client
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.process.browser import Page, opened
from tests.process.client import connect
from tests.process.server import HOST, ServerProcess, database_environ, wait_until
from x121.testing.postgres import Postgres

TOKEN = "correct-horse-battery-staple"
Start = Callable[..., ServerProcess]

# What a test may look at in the page.
ROWS = "[...document.querySelectorAll('#{} tr')].map(row => row.innerText)"
STATUS = "document.querySelector('#status')?.textContent"
VALUE = """
[...document.querySelectorAll('.plot')].find(plot => plot.querySelector('h3').textContent === {!r})
.querySelectorAll('dd')[{}].innerText
"""
POINTS = """
(document.querySelector('path.line.first')?.getAttribute('d') ?? '').split(/[ML]/).length - 1
"""
LINES = (
    "[...document.querySelectorAll('path.line.first')].map(line => line.getAttribute('d') ?? '')"
)

TOO_WIDE = """
[...document.querySelectorAll('body *')].filter(node => {
    const box = node.getBoundingClientRect();
    return box.width && (box.right > innerWidth + 0.5 || box.left < -0.5);
}).map(node => node.outerHTML.slice(0, 80))
"""


@pytest.fixture
def environ(postgres: Postgres) -> dict[str, str]:
    """Return what a server with a console needs."""
    return database_environ(postgres.config(postgres.create_database())) | {"DIAGNOSTICS": "true"}


@pytest.fixture
def start(tmp_path: Path, environ: dict[str, str]) -> Iterator[Callable[..., ServerProcess]]:
    """Return what starts a server with a console."""
    servers: list[ServerProcess] = []

    def started(**more: str) -> ServerProcess:
        folder = tmp_path / f"server{len(servers)}"
        folder.mkdir()
        servers.append(ServerProcess(folder, environ | more, trials=True))
        return servers[-1]

    yield started
    for server in servers:
        server.__exit__(None, None, None)


@pytest.fixture
def page(chromium: str, tmp_path: Path) -> Iterator[Page]:
    """Return an empty page of a browser of its own."""
    (tmp_path / "browser").mkdir()
    with opened(chromium, tmp_path / "browser") as page:
        page.be(1280, 900)
        yield page


def url(server: ServerProcess) -> str:
    return f"http://{HOST}:{server.port}/console"


def show(page: Page, server: ServerProcess) -> None:
    """Have the page show the console, and return once it is live."""
    page.go(url(server))
    page.wait_for(f"{STATUS} === 'Live'")


@contextmanager
def load(server: ServerProcess) -> Iterator[str]:
    """Give the id of a request that failed, while others are connected and topics told."""
    failed = server.get("/trials/fail")
    assert failed.status == 500
    with connect(server, "/ws/trials") as client:
        client.hear_welcome()
        yield failed.headers["X-Request-Id"]


def test_live(page: Page, start: Start) -> None:
    """The page shows what happens, as it happens; nothing of it is complained about."""
    server = start()
    with load(server) as failed_id:
        show(page, server)
        for plot in ("Requests", "Latency", "Connections", "Database pool", "Reactor lag"):
            page.wait_for(VALUE.format(plot, 0) + "!== '\\u2013'")
        before = page.evaluate(LINES)
        assert len(before) == 5

        def is_busy() -> bool:
            for _ in range(20):
                server.get("/health")
            return float(page.evaluate(VALUE.format("Requests", 0)).removesuffix(" /s")) > 5

        wait_until(is_busy, "requests in the plot")
        wait_until(
            lambda: all(map(operator.ne, page.evaluate(LINES), before)), "plots that have moved"
        )
        assert page.evaluate(VALUE.format("Connections", 1)) == "2"
        assert page.evaluate(VALUE.format("Database pool", 0)).split() == ["0", "of", "10"]

        (error,) = page.evaluate(ROWS.format("errors"))
        assert "GET /trials/fail: RuntimeError: a secret of the handler's" in error
        assert failed_id in error
        theirs, own = page.evaluate(ROWS.format("websockets"))
        assert server.find("WebSocket connected")[0]["connection_id"] in theirs
        assert "this page" in own
    page.wait_for(f"{ROWS.format('websockets')}.length === 1")
    assert page.complaints == []


def test_hostile_text(page: Page, start: Start) -> None:
    """Text that others have made up is shown as it is, and is no markup."""
    server = start()
    markup = "<img src=x onerror=alert(1)>"
    with connect(server, "/ws/trials") as client:
        client.hear_welcome()
        client.send_message("trials.subscribe", 1, [markup, "‮ \u0000 '\"&amp;"])
        client.hear_reply(1)
        client.send_message("trials.raise", 2, f"<script>alert(1)</script>{markup}")
        assert client.hear()["code"] == "PANIC"
        show(page, server)
        page.wait_for(f"{ROWS.format('errors')}.length === 1")
        (error,) = page.evaluate(ROWS.format("errors"))
        assert f"<script>alert(1)</script>{markup}" in error
        page.wait_for(f"{ROWS.format('websockets')}.length === 2")
        assert markup in page.evaluate(ROWS.format("websockets"))[0]
        assert page.evaluate("document.querySelectorAll('img, main script').length") == 0
    assert page.complaints == []


@pytest.mark.parametrize(
    ("width", "height", "scheme"), [(1280, 900, "light"), (1280, 900, "dark"), (375, 812, "light")]
)
def test_looks(
    page: Page, start: Start, tmp_path: Path, width: int, height: int, scheme: str
) -> None:
    """In every width nothing is wider than the page; the schemes differ; a picture is made."""
    server = start()
    page.be(width, height, scheme, mobile=width < 500)
    with load(server), connect(server, "/ws/trials") as client:
        client.hear_welcome()
        client.send_message("trials.subscribe", 1, ["x" * 100, *(f"topic {n}" for n in range(20))])
        client.hear_reply(1)
        client.send_message("trials.raise", 2, "x" * 1000)
        client.hear()
        show(page, server)
        page.wait_for(f"{ROWS.format('websockets')}.length === 3")
        page.wait_for(f"{ROWS.format('errors')}.length === 2")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(TOO_WIDE) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red = int(ground.removeprefix("rgb(").split(",")[0])
    assert (red < 64) == (scheme == "dark")
    picture = tmp_path / "picture.png"
    page.picture(picture, whole=True)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_comes_back(page: Page, start: Start, free_port: int) -> None:
    """It says that it is disconnected, tries again by itself, and keeps what it has."""
    server = start(SERVER_PORT=str(free_port))
    show(page, server)
    page.wait_for(f"{POINTS} >= 4")
    assert server.stop() == 0
    page.wait_for(f"{STATUS} === 'Disconnected'")
    page.wait_for("document.querySelector('#countdown').textContent.startsWith('trying again')")
    assert page.evaluate("!document.querySelector('#notice').hidden")
    assert "Disconnected" in page.evaluate("document.title")
    start(SERVER_PORT=str(free_port)).wait_for("Server listening")
    page.evaluate("document.querySelector('#retry').click()")
    page.wait_for(f"{STATUS} === 'Live'")
    assert page.evaluate("document.querySelector('#notice').hidden")
    page.wait_for(f"{POINTS} >= 5")
    uptime = page.evaluate("document.querySelector('#uptime').textContent")
    assert int(uptime.removeprefix("up ").removesuffix(" s")) < page.evaluate(POINTS) - 1


def test_token(page: Page, start: Start) -> None:
    """A browser whose user gives the token once gets the page and its WebSocket."""
    server = start(DIAGNOSTICS_TOKEN=TOKEN)
    page.go(url(server).replace("//", f"//me:{TOKEN}@"))
    page.wait_for(f"{STATUS} === 'Live'")
    assert page.evaluate("document.cookie") == ""  # it is for no script
    page.go(url(server))  # and for the next time
    page.wait_for(f"{STATUS} === 'Live'")


def ask(server: ServerProcess, **headers: str) -> http.client.HTTPResponse:
    """Return the answer to a request for the page, with headers whose names have ``_``."""
    connection = server.connect()
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", "/console", headers=lines)
    return connection.getresponse()


def test_access(start: Start) -> None:
    """The real server refuses who isn't here, and whose page isn't its own."""
    server = start()
    assert ask(server).status == 200
    assert ask(server, Host="evil.test").status == 403
    assert ask(server, X_Forwarded_For="127.0.0.1").status == 403
    with connect(server, "/ws/console", origin=f"http://{HOST}:{server.port}") as client:
        assert client.hear().keys() == {"connection_id", "started_at", "pool_max"}
        assert client.hear()["websockets"]["count"] == 1
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(server, "/ws/console", origin="http://localhost:5173"),
    ):
        pass
    assert caught.value.response.status_code == 403
    assert server.stop() == 0
    assert server.lines[-1]["websockets_dropped"] == 0


def test_access_with_token(start: Start) -> None:
    """With a token nobody is let in without it, and it isn't logged."""
    server = start(DIAGNOSTICS_TOKEN=TOKEN, LOG_LEVEL="debug")
    assert ask(server).status == 401
    password = base64.b64encode(f":{TOKEN}".encode()).decode()
    answer = ask(server, Authorization=f"Basic {password}", Host="anywhere.test")
    assert answer.status == 200
    cookie = str(answer.headers["Set-Cookie"]).partition(";")[0]
    with connect(server, "/ws/console", additional_headers={"Cookie": cookie}) as client:
        assert client.hear().keys() == {"connection_id", "started_at", "pool_max"}
        assert client.hear()["websockets"]["count"] == 1
    server.stop()
    log = b"".join([*server.raw, *server.errors]).decode()
    for secret in (TOKEN, password, cookie.partition("=")[2]):
        assert secret not in log


def test_off(start: Start) -> None:
    """It is off unless it is turned on."""
    assert ask(start(DIAGNOSTICS="")).status == 404
