"""Health: there, alive, ready."""

from __future__ import annotations

from typing import Any

import pytest_twisted
from twisted.internet.defer import Deferred

from tests.memory import AppTestCase
from x121.application import Application, AppState, Check, Feature, Stage
from x121.db.pool import Pool
from x121.testing.app import App


class HealthTests(AppTestCase):
    def test_health(self) -> None:
        """``/health`` is 200 and asks nothing of the database."""
        response = self.app().request("GET", "/health")
        self.assertEqual((response.status, response.json), (200, {"status": "ok"}))

    def test_live(self) -> None:
        """``/health/live`` is 200 while the reactor turns, at every stage."""
        app = self.app()
        for stage in Stage:
            app.state.lifecycle.stage = stage
            self.assertEqual(app.request("GET", "/health/live").status, 200)

    def test_not_ready_without_a_database(self) -> None:
        """``/health/ready`` is 503 while the database doesn't answer."""
        response = self.app().request("GET", "/health/ready")
        self.assertEqual((response.status, response.json["code"]), (503, "SERVICE_UNAVAILABLE"))
        self.assertIn("retry-after", response.headers)

    def test_not_ready_before_and_after(self) -> None:
        """It is 503 with the stage while the server starts or drains."""
        app = self.app()
        for stage, status in ((Stage.STARTING, "starting"), (Stage.DRAINING, "draining")):
            app.state.lifecycle.stage = stage
            response = app.request("GET", "/health/ready")
            self.assertEqual(response.status, 503)
            self.assertEqual(response.json["status"], status)
            self.assertEqual(response.json["code"], "SERVICE_UNAVAILABLE")
            self.assertIn(status, response.json["error"])


@pytest_twisted.ensureDeferred
async def test_ready(app: App) -> None:
    """``/health/ready`` is 200 when the database answers."""
    response = await app.fetch("GET", "/health/ready")
    assert (response.status, response.json) == (200, {"status": "ok"})


class Search(Feature):
    """Ready as its index is: an attribute that tests set."""

    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        self.index: Any = None
        self.checks = [Check("index", lambda: self.index, timeout_secs=2), Check("other", int)]


def fail() -> None:
    raise RuntimeError("the index has a secret path")


@pytest_twisted.ensureDeferred
async def test_readiness_checks(pool: Pool) -> None:
    """The checks of features are asked, and one that fails or takes too long is named."""
    with App(Application("test").nest("/search", Search), pool=pool) as app:
        (mount,) = app.state.mounts
        search: Any = mount.feature
        assert (await app.fetch("GET", "/health/ready")).status == 200

        search.checks[0] = Check("index", fail)
        response = await app.fetch("GET", "/health/ready")
        assert (response.status, response.json["status"]) == (503, "unready")
        assert response.json["error"] == "Not ready: index"

        search.checks[0] = Check("index", Deferred, timeout_secs=2)
        asking = app.fetch("GET", "/health/ready")
        await app.until(lambda: not pool.stats().in_use or None, "the database was asked")
        app.clock.advance(2)
        assert (await asking).json["error"] == "Not ready: index"
        reasons = [line["message"] for line in app.lines("x121.builtin.health")]
        assert any("secret path" in reason for reason in reasons)
        assert any("timeout after 2 s" in reason for reason in reasons)
