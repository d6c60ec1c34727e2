"""The README tells the truth: its feature runs, and its tables name what there is."""

from __future__ import annotations

import json
import re
import sys
import types
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import ensureDeferred

from tests.readme import README, block
from tests.ws.client import WebSocketTestCase
from x121 import config, errors
from x121.application import Application
from x121.config import DbConfig
from x121.db.migrations import Migration, migrate
from x121.testing.app import App
from x121.testing.database import running_pool
from x121.testing.frames import TEXT

reactor: Any = _reactor
LINE = 'application.nest("/notes", Notes)'
MIGRATION = "0004_create_notes.sql"
WS_LINE = 'application.nest("/chat", Chat)'


@contextmanager
def imported(*paths: str) -> Iterator[types.ModuleType]:
    """Import the README's modules as if they were in their files; give the last one."""
    with ExitStack() as undo:
        for path in paths:
            name = path.removesuffix(".py").replace("/", ".")
            module = types.ModuleType(name)
            package, _, child = name.rpartition(".")
            if package not in sys.modules:
                sys.modules[package] = types.ModuleType(package)
                undo.callback(sys.modules.pop, package)
            setattr(sys.modules[package], child, module)
            undo.callback(delattr, sys.modules[package], child)
            sys.modules[name] = module
            undo.callback(sys.modules.pop, name)
            exec(compile(block(path), path, "exec"), module.__dict__)
        yield module


@pytest_twisted.ensureDeferred
async def test_feature(empty_database: DbConfig) -> None:
    """The worked example is served by its one line, and answers as the README says."""
    assert LINE in README
    sql = block(f"migrations/{MIGRATION}")
    await migrate(empty_database, [Migration.parse(MIGRATION, sql.encode())], reactor=reactor)
    files = [f"x121/app/notes/{name}.py" for name in ("models", "queries", "routes")]
    with imported(*files) as module:
        application = Application("readme")
        eval(LINE, {"application": application, "Notes": module.Notes})
        async with running_pool(empty_database) as pool:
            with App(application, pool=pool) as app:
                await _use(app)


async def _use(app: App) -> None:
    async def ask(method: str, path: str = "", **options: Any) -> tuple[int, Any]:
        response = await app.fetch(method, f"/api/v1/notes{path}", **options)
        return response.status, response.json

    milk: dict[str, Any] = {"json": {"title": "milk"}}
    assert await ask("POST", **milk) == (201, {"title": "milk", "id": 1})
    duplicate = "Duplicate entry violates unique constraint: uq_notes_title"
    assert await ask("POST", **milk) == (409, {"error": duplicate, "code": "CONFLICT"})
    assert duplicate in README
    status, body = await ask("POST", json={"titel": "milk"})
    assert (status, json.dumps(body, separators=(",", ":")) in README) == (400, True)
    assert await ask("GET", "/1") == (200, {"title": "milk", "id": 1})
    missing = {"error": "Resource not found", "code": "NOT_FOUND"}
    assert await ask("GET", "/2") == (404, missing)
    status, body = await ask("DELETE", "/1")
    assert (status, body["code"]) == (405, "METHOD_NOT_ALLOWED")


@pytest_twisted.ensureDeferred
async def test_retry(empty_database: DbConfig) -> None:
    """The worked example of ``pool.retry`` moves what it should, in both directions at once."""
    with imported("x121/app/accounts/queries.py") as module:
        async with running_pool(empty_database) as pool:
            await pool.execute("CREATE TABLE accounts (id bigint PRIMARY KEY, amount int)")
            await pool.execute("INSERT INTO accounts VALUES (1, 100), (2, 100)")
            there, back = (
                ensureDeferred(module.transfer(pool, *arguments))
                for arguments in ((30, 1, 2), (50, 2, 1))
            )
            await there, await back
            query = "SELECT amount FROM accounts ORDER BY id"
            assert await pool.fetch_all(query) == [(120,), (80,)]
            with pytest.raises(errors.Conflict):
                await module.transfer(pool, 500, 1, 2)
            assert await pool.fetch_all(query) == [(120,), (80,)]


class WebSocketTests(WebSocketTestCase):
    def test_chat(self) -> None:
        """The worked example is served by its one line, and answers as the README says."""
        self.assertIn(WS_LINE, README)

        with imported("x121/app/chat/models.py", "x121/app/chat/routes.py") as module:
            application = Application("readme")
            eval(WS_LINE, {"application": application, "Chat": module.Chat})
            app = self.app(application)
        clients = [self.connect(app) for _ in range(4)]
        for client in clients[1:]:
            client.send(TEXT, json.dumps(told("subscribe")).encode())
            subscribed = {"type": "reply", "id": 8, "data": {"topic": "chat"}}
            self.assertEqual(client.messages(), [subscribed])
        clients[0].send(TEXT, json.dumps(told("chat.say")).encode())
        self.assertEqual(clients[0].messages(), [told("reply")])
        event = {"type": "chat.said", "data": {"by": clients[0].id, "text": "hello"}}
        for client in clients[1:]:
            self.assertEqual(client.messages(), [event])
        clients[0].send_message("chat.say", 7, {})
        self.assertEqual(clients[0].messages(), [told("error")])


def told(message_type: str) -> Any:
    """Return the message of a type that the README shows as JSON."""
    start = README.index(f'{{"type": "{message_type}", "id"')
    return json.JSONDecoder().raw_decode(README[start:])[0]


def test_configuration() -> None:
    """The README's table has every variable with its default."""
    section = README.split("## Configuration")[1].split("## ")[0]
    told: dict[str, str] = {}
    for row in re.findall(r"^\| (`[A-Z].*?) \| (.*?)\|", section, re.MULTILINE):
        names, defaults = (re.findall(r"`([^`]+)`", cell) for cell in row)
        told.update(zip(names, [*defaults, *[""] * len(names)], strict=False))
    known = {v.name: v.default for v in config.variables()}
    known["WS_ALLOWED_ORIGINS"] = "CORS_ORIGINS"  # whose value it has
    assert told == known


def test_errors() -> None:
    """The README's table of errors has their statuses and codes."""
    for kind in (
        errors.BadRequest, errors.Unauthorized, errors.Forbidden, errors.NotFound,
        errors.Conflict, errors.PreconditionFailed, errors.UnsupportedMediaType,
        errors.InternalError,
    ):  # fmt: skip
        assert kind.__name__ in README
        assert f"{kind.status} `{kind.code}`" in README
    assert errors.translate_db_error(psycopg2.OperationalError()).status == 503


def test_layout() -> None:
    """Every path that the README names is there."""
    section = README.split("## Code layout")[1].split("##")[0]
    root = Path(__file__).parent.parent
    for path in re.findall(r"(?:\.?\w+/)+(?:[\w.]+)?|(?<= )\w+\.py", section):
        assert (root / path).exists() or (root / "x121" / path).exists(), path
    for path in re.findall(r"\]\((?!http|#)([^)]+)\)", README):
        assert (root / path).exists(), path


def test_links() -> None:
    """Every link within the README leads to one of its headings, and the list at its top to all."""
    headings = re.findall(r"^##+ (.*)", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) == anchors
