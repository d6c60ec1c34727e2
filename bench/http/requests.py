"""Requests as a kind of load."""

from __future__ import annotations

from collections.abc import Sequence

from bench.http.bursts import run_bursts
from bench.http.cases import Case
from bench.http.check import check, check_timeout
from bench.http.load import run_round
from bench.processes import Server
from bench.programs import HTTP, Place, Program
from bench.rounds import Round

__all__ = ["Requests"]


class Requests:
    """Requests: wrk sends them, or clients of our own if connecting is measured too."""

    programs: Sequence[Program] = HTTP

    def __init__(self, wrk: str, place: Place, cases: Sequence[Case]) -> None:
        self.cases = cases
        self._wrk = wrk
        self._place = place

    def takes_part(self, program: Program, case: Case) -> bool:
        """Return whether ``program`` serves what ``case`` asks."""
        return program.has_features or case.with_bare

    def check(self, program: Program, server: Server) -> None:
        """Raise :class:`~bench.processes.Failure` if ``server`` doesn't do all the others do."""
        check(program, server)
        check_timeout(program, self._place)
        server.take_log(0)

    def fills_core(self, _: Case) -> bool:
        """Return True: some request always waits for the server."""
        return True

    def round(self, _: Program, server: Server, case: Case, seconds: int) -> Round:
        """Return the result of one round."""
        db, folder = self._place.db, self._place.folder
        if case.requests_each:
            return run_bursts(server, db, case, seconds, folder)
        return run_round(self._wrk, server, db, case, seconds, folder)
