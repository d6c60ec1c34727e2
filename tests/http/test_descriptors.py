"""The reserve of file descriptors: who touches it, and what the log says of that."""

from __future__ import annotations

import resource

from twisted.internet.task import Clock

from tests.memory import AppTestCase
from x121.http.descriptors import MAX_RESERVE, WARN_EVERY_SECS, DescriptorReserve

LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class ReserveTests(AppTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.reserve = DescriptorReserve(clock=self.clock)

    def test_touched(self) -> None:
        """Only the last descriptors are of the reserve; a transport without one never is."""
        for descriptor in (-1, 0, 20, LIMIT - MAX_RESERVE - 1):
            self.assertFalse(self.reserve.is_touched_by(descriptor), descriptor)
        self.assertTrue(self.reserve.is_touched_by(LIMIT - 1))

    def test_log(self) -> None:
        """The first time is logged at once; what follows is counted, and logged now and then."""
        app = self.app()
        self.reserve.note(closed=1)
        for _ in range(5):
            self.reserve.note(closed=1)
            self.reserve.note(refused=1)
        self.clock.advance(WARN_EVERY_SECS)
        self.reserve.note(refused=1)
        lines = app.lines("x121.http.descriptors")
        self.assertEqual({line["level"] for line in lines}, {"warn"})
        self.assertEqual([(line["closed"], line["refused"]) for line in lines], [(1, 0), (5, 6)])
        self.assertEqual({line["limit"] for line in lines}, {LIMIT})
