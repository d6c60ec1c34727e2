"""Messages that go to everybody: the next is asked for when everybody has the last."""

from __future__ import annotations

from bench.rounds import Round
from bench.ws.echo import summary
from bench.ws.fleet import Fleet
from bench.ws.targets import Target

__all__ = ["run_round"]


def run_round(target: Target, clients: Fleet, size: int, seconds: float) -> Round:
    """Return what ``seconds`` of events of ``size`` bytes gave.

    What is counted is what arrives; what is timed is until the last client has an event.
    """
    server = target.server
    cpu_secs, load_secs = server.cpu_secs, clients.cpu_secs
    answers = clients.flood(target.ask_for_event(size), size, seconds)
    cpu_secs, load_secs = server.cpu_secs - cpu_secs, clients.cpu_secs - load_secs
    return summary(server, answers, cpu_secs, load_secs)
