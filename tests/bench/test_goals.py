"""The goals of the benchmark: reached, missed or not measured."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.goals import RATE, Lead, Limit, goals_table
from bench.result import Measured, Result
from bench.rounds import Round


def measured(cpu_us: float, per_sec: float = 1.0, disturbed: int = 0) -> Measured:
    return Measured("a server", Round(per_sec, cpu_us / 1e6, 0.0, 0.0, 0.0, 0.0), 0, disturbed)


def results(**cases: dict[str, Measured]) -> dict[str, Result]:
    return {name: Result(name, name, 100, by_name) for name, by_name in cases.items()}


class LeadTests(SynchronousTestCase):
    def test_cost(self) -> None:
        """By CPU, the ratio is the peer's divided by x121's."""
        row = Lead("health", ("starlette",), 3.0, stretch=4.0).row(
            results(health={"x121": measured(10), "starlette": measured(35)})
        )
        assert row is not None
        self.assertEqual(row[3:], ["3.50x", ">= 3x", "reached", ">= 4x MISSED", ""])

    def test_rate(self) -> None:
        """By rate, the ratio is x121's divided by the peer's."""
        row = Lead("health", ("starlette",), 2.0, by=RATE).row(
            results(health={"x121": measured(1, 150), "starlette": measured(1, 100)})
        )
        assert row is not None
        self.assertEqual(row[3:], ["1.50x", ">= 2x", "MISSED", "", ""])

    def test_best_peer(self) -> None:
        """Of several peers, the goal is measured against the best."""
        peers = {"starlette": measured(40), "aiohttp": measured(20), "fastapi": measured(80)}
        row = Lead("health", tuple(peers), 3.0).row(results(health={"x121": measured(10), **peers}))
        assert row is not None
        self.assertEqual(row[3], "2.00x")

    def test_disturbed(self) -> None:
        """A goal says if it depends on a disturbed round."""
        row = Lead("health", ("starlette",), 3.0).row(
            results(health={"x121": measured(10), "starlette": measured(35, disturbed=1)})
        )
        assert row is not None
        self.assertEqual(row[-1], "disturbed")

    def test_not_measured(self) -> None:
        """A goal whose case or peer didn't take part isn't judged."""
        goal = Lead("health", ("starlette",), 3.0)
        self.assertIsNone(goal.row(results(item={"x121": measured(1)})))
        self.assertIsNone(goal.row(results(health={"x121": measured(1)})))


class LimitTests(SynchronousTestCase):
    def test_ratio(self) -> None:
        """The cost of a case is compared with that of another, both x121's."""
        row = Limit("missing", "health", 1.3).row(
            results(health={"x121": measured(10)}, missing={"x121": measured(14)})
        )
        assert row is not None
        self.assertEqual(row[3:], ["1.40x", "<= 1.3x", "MISSED", "", ""])


class GoalsTableTests(SynchronousTestCase):
    def test_count(self) -> None:
        """The table ends with how many goals were reached, of those that were measured."""
        run = results(
            health={"x121": measured(10), "starlette": measured(35), "fastapi": measured(35)}
        )
        text = goals_table(list(run.values()))
        self.assertIn("1 of 2 goals reached; 15 not measured", text)
