"""Messages over WebSockets as a kind of load."""

from __future__ import annotations

from collections.abc import Sequence

from bench.processes import Server
from bench.programs import WEBSOCKETS, Place, Program
from bench.rounds import Round
from bench.ws import broadcast, echo
from bench.ws.cases import Case
from bench.ws.check import check
from bench.ws.fleet import fleet
from bench.ws.targets import target

__all__ = ["Messages"]


class Messages:
    """Has clients of our own send messages."""

    programs: Sequence[Program] = WEBSOCKETS

    def __init__(self, place: Place, cases: Sequence[Case]) -> None:
        self.cases = cases
        self._place = place

    def takes_part(self, program: Program, case: Case) -> bool:
        """Return whether ``program`` does what ``case`` asks: the ceiling broadcasts only."""
        return program.has_features or case.is_broadcast

    def check(self, program: Program, server: Server) -> None:
        """End the program if ``server`` does not do all that the others do."""
        for case in self.cases:
            if self.takes_part(program, case):
                check(target(program, server), case)

    def fills_core(self, case: Case) -> bool:
        """Return False if the server waits for the clients at times, as between broadcasts."""
        return not case.is_broadcast

    def round(self, program: Program, server: Server, case: Case, seconds: int) -> Round:
        """Return the result of one round."""
        aim = target(program, server)
        with fleet(self._place.folder, server, 1) as clients:
            if case.is_broadcast:
                clients.open(aim.path, case.connections, talks=aim.talks)
                return broadcast.run_round(aim, clients, case.size, seconds)
            clients.open(aim.echo_path, case.connections, talks=False)
            return echo.run_round(server, clients, "x" * case.size, seconds)
