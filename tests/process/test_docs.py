"""The documentation's page and its files, from a server as it runs, and in Chromium."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.process.browser import Page, opened
from tests.process.server import HOST, ServerProcess, database_environ
from x121.testing.postgres import Postgres

METHODS_SHOWN = "[...document.querySelectorAll('.opblock')].map(shown => [\
 shown.querySelector('[data-path]').dataset.path,\
 shown.querySelector('.opblock-summary-method').innerText.toLowerCase()])"
ASKED_FOR = "[location.href, ...performance.getEntriesByType('resource').map(one => one.name)]"
TRY_IT_OUT = """(async () => {
  const until = async (find) => {
    while (!find()) await new Promise((again) => setTimeout(again, 20));
    return find();
  };
  const shown = document.getElementById("operations-Health-health_health");
  shown.querySelector(".opblock-summary-control").click();
  (await until(() => shown.querySelector(".try-out__btn"))).click();
  (await until(() => shown.querySelector(".execute"))).click();
  return (await until(() => shown.querySelector(".live-responses-table .microlight"))).innerText;
})()"""
IS_SHOWN = "document.querySelectorAll('.opblock').length > 0"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def server(
    speed: str, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """Return the server that the tests of this module share."""
    environ = database_environ(postgres.config(postgres.create_database()))
    with ServerProcess(tmp_path_factory.mktemp("server"), environ, trials=True) as server:
        yield server


@pytest.fixture
def page(chromium: str, server: ServerProcess, tmp_path: Path) -> Iterator[Page]:
    """Return the page of the documentation, as a browser shows it."""
    with opened(chromium, tmp_path) as page:
        page.be(1200, 900)
        page.go(f"http://{HOST}:{server.port}/docs")
        page.wait_for(IS_SHOWN)
        yield page


def test_assets(server: ServerProcess) -> None:
    """The page's files are Swagger UI's and ours, under names that are theirs for good."""
    html = server.get("/docs").body.decode()
    paths = dict(re.findall(r'(?:src|href)="(docs/\w+/([\w.-]+))"', html))
    by_name = {name: path for path, name in paths.items()}
    assert by_name.keys() == {"swagger-ui.css", "docs.css", "swagger-ui.js", "docs.js"}
    types = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
    for name, path in by_name.items():
        answer = server.get(f"/{path}")
        assert answer.status == 200
        assert answer.headers["Content-Type"] == types[Path(name).suffix]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    spec = find_spec("offapi")
    assert spec is not None
    (folder,) = map(Path, spec.submodule_search_locations or [])
    bundle = server.get("/" + by_name["swagger-ui.js"]).body
    assert bundle == (folder / "swagger_bundle.js").read_bytes()
    for path in ("docs/other/docs.js", by_name["docs.js"].replace("docs.js", "docs.html")):
        assert server.get(f"/{path}").json["code"] == "NOT_FOUND"


def test_page(page: Page, server: ServerProcess) -> None:
    """The page shows every endpoint, breaks no policy, and asks nobody else for anything."""
    document = server.get("/openapi.json").json
    expected = [[path, method] for path, one in document["paths"].items() for method in one]
    assert sorted(page.evaluate(METHODS_SHOWN)) == sorted(expected)
    origin = f"http://{HOST}:{server.port}/"
    asked_for = page.evaluate(ASKED_FOR)
    assert f"{origin}openapi.json" in asked_for
    assert [url for url in asked_for if not url.startswith((origin, "data:"))] == []
    assert page.complaints == []


def test_try_it_out(page: Page) -> None:
    """An endpoint can be tried out on the page, and its answer is shown."""
    assert json.loads(page.evaluate(TRY_IT_OUT)) == {"status": "ok"}
    assert page.complaints == []


def test_schemes(page: Page) -> None:
    """The page is light or dark as its reader prefers, and follows a change of mind."""
    assert page.evaluate(BACKGROUND) == "rgb(255, 255, 255)"
    page.be(1200, 900, "dark")
    page.wait_for(f"{BACKGROUND} === 'rgb(28, 32, 34)'")
    assert page.complaints == []


def test_policy(page: Page) -> None:
    """What the policy forbids is complained of, so that no complaint means something."""
    page.evaluate("document.body.setAttribute('style', 'color: red')")
    page.wait_for("true")
    assert any("Content Security Policy" in complaint for complaint in page.complaints)
