"""Rounds of a benchmark: which are repeated, and which count."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from bench.rounds import Round, SteadyRounds


def round_of(server_share: float, load_share: float = 0.2) -> Round:
    return Round(server_share, 1.0, 0.0, 0.0, 0.0, load_share)


def in_order(*rounds: Round) -> Callable[[], Round]:
    return iter(rounds).__next__


class SteadyRoundsTests(SynchronousTestCase):
    def test_calm(self) -> None:
        """A round in which the server had its core counts, and isn't repeated."""
        steady = SteadyRounds(in_order(round_of(0.95)), most=3, fills_core=True)
        self.assertEqual(steady().server_share, 0.95)
        self.assertEqual((steady.repeated, steady.disturbed), (0, 0))

    def test_load_is_the_limit(self) -> None:
        """A round in which the load used all of its core isn't disturbed."""
        steady = SteadyRounds(in_order(round_of(0.5, load_share=0.95)), most=3, fills_core=True)
        self.assertEqual(steady().server_share, 0.5)
        self.assertEqual((steady.repeated, steady.disturbed), (0, 0))

    def test_repeated(self) -> None:
        """A disturbed round is repeated until one isn't, which counts."""
        rounds = in_order(round_of(0.5), round_of(0.8), round_of(0.2, load_share=0.95))
        steady = SteadyRounds(rounds, most=3, fills_core=True)
        self.assertEqual(steady().server_share, 0.2)
        self.assertEqual((steady.repeated, steady.disturbed), (2, 0))

    def test_disturbed_to_the_end(self) -> None:
        """If all repetitions are disturbed, the one with most of the core counts."""
        rounds = in_order(round_of(0.5), round_of(0.8), round_of(0.6))
        steady = SteadyRounds(rounds, most=2, fills_core=True)
        self.assertEqual(steady().server_share, 0.8)
        self.assertEqual((steady.repeated, steady.disturbed), (2, 1))

    def test_waiting_server(self) -> None:
        """Where the server waits for the load, no round is repeated."""
        steady = SteadyRounds(in_order(round_of(0.5)), most=3, fills_core=False)
        self.assertEqual(steady().server_share, 0.5)
        self.assertEqual((steady.repeated, steady.disturbed), (0, 0))
