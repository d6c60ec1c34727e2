"""Health: there, alive, ready."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.task import Clock

from tests.memory import AppTestCase, make_state
from x121.api.health import Health
from x121.app_state import Stage
from x121.config import DbConfig
from x121.db.pool import make_pool

reactor: Any = _reactor


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
async def test_ready(database: DbConfig) -> None:
    """``/health/ready`` is 200 when the database answers."""
    pool = make_pool(database, reactor=reactor, statement_timeout_secs=5)
    await pool.start()
    try:
        state = dataclasses.replace(make_state(Clock()), pool=pool)
        request: Any = _FakeAnswer()
        body = await Health(state).ready(request)
        assert (request.code, body) == (200, b'{"status":"ok"}')
    finally:
        await pool.stop()


class _FakeAnswer:
    code = 0

    def setResponseCode(self, code: int) -> None:
        self.code = code

    def setHeader(self, name: bytes, value: bytes) -> None: ...
