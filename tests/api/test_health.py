"""Health: there, alive, ready."""

from __future__ import annotations

import pytest_twisted

from tests.memory import AppTestCase
from x121.app_state import Stage
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
