"""Requests as a kind of load."""

from __future__ import annotations

from collections.abc import Sequence

from bench.http.cases import Case
from bench.http.check import check, check_timeout
from bench.http.load import run_round
from bench.processes import Server
from bench.programs import HTTP, Place, Program
from bench.rounds import Round

__all__ = ["Requests"]


class Requests:
    """Has wrk send requests."""

    programs: Sequence[Program] = HTTP

    def __init__(self, wrk: str, place: Place, cases: Sequence[Case]) -> None:
        self.cases = cases
        self._wrk = wrk
        self._place = place

    def takes_part(self, program: Program, case: Case) -> bool:
        """Return whether ``program`` serves what ``case`` asks."""
        return program.has_features or case.with_bare

    def check(self, program: Program, server: Server) -> None:
        """End the program if ``server`` does not do all that the others do."""
        check(program, server)
        check_timeout(program, self._place)
        server.take_log(0)

    def round(self, _: Program, server: Server, case: Case, seconds: int) -> Round:
        """Return what one round gave."""
        return run_round(self._wrk, server, case, seconds, self._place.folder)
