"""Twisted's own cases for reactors, which ship with it, on ours.

Each passes, or stands in ``LEFT_OUT``, ``DIFFERENT`` or ``SKIPPED`` with the reason; a name there
that Twisted doesn't have, or that is not needed any more, is a failure too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.reactor.twisted_cases import LEFT_OUT as WAS_LEFT_OUT
from tests.reactor.twisted_cases import PASSED
from tests.reactor.twisted_cases import SKIPPED as WAS_SKIPPED

ROOT = Path(__file__).parents[2]

# Cases that build a reactor for themselves; of other modules of this package none does so for
# every reactor.
BUILDERS = [
    f"twisted.internet.test.test_{name}"
    for name in (
        "core", "fdset", "newtls", "process", "reactormixins", "socket", "stdio", "tcp", "threads",
        "time", "tls", "udp", "unix",
    )
]  # fmt: skip

# Cases that use the installed reactor, with servers on it.
INSTALLED = [
    "twisted.internet.test.test_endpoints",
    "twisted.protocols.test.test_tls",
    "twisted.spread.test.test_pb",
    "twisted.test.test_internet",
    "twisted.test.test_policies",
    "twisted.test.test_ssl",
    "twisted.test.test_tcp",
    "twisted.test.test_threads",
    "twisted.test.test_udp",
    "twisted.test.test_unix",
    "twisted.web.test.test_webclient",
]


class Difference(NamedTuple):
    """Why a case has another outcome, and what in it tells that this is the reason."""

    why: str
    shows: str


_SENDS_DESCRIPTORS = (
    "a plain protocol sends file descriptors, which uvloop's transports don't: a protocol that does"
    " has to provide IFileDescriptorReceiver, and is served by Twisted's own transport then"
)
_OTHER_USER = (
    "runs Python as another user, to whom a Python in somebody's home directory is closed; it is"
    " Twisted's own part that does this, on any reactor"
)

# Cases that are not run: they would wait for what never comes, or depend on the machine.
LEFT_OUT = {
    "test_unix.UNIXTestsBuilder.test_avoidLeakingFileDescriptors": _SENDS_DESCRIPTORS,
    "test_unix.UNIXTestsBuilder.test_descriptorDeliveredBeforeBytes": _SENDS_DESCRIPTORS,
    "test_unix.UNIXTestsBuilder.test_fileDescriptorOverrun": _SENDS_DESCRIPTORS,
    "test_unix.UNIXTestsBuilder.test_sendFileDescriptor": _SENDS_DESCRIPTORS,
    "test_unix.UNIXTestsBuilder.test_sendFileDescriptorTriggersPauseProducing": _SENDS_DESCRIPTORS,
    "test_process.ProcessTestsBuilder.test_changeGID": _OTHER_USER,
    "test_process.ProcessTestsBuilder.test_changeUID": _OTHER_USER,
    "test_process.PTYProcessTestsBuilder.test_changeGID": _OTHER_USER,
    "test_process.PTYProcessTestsBuilder.test_changeUID": _OTHER_USER,
    "test_tls.TLSMemoryBIOTests.test_noCircularReferences": (
        "looks at every object of the process, and fails on the modules of Autobahn that are not"
        " loaded yet"
    ),
}

# Cases that fail, and should.
DIFFERENT = {
    "test_tcp.LoopbackTests.test_tcpNoDelay": Difference(
        why="Nagle's algorithm is off from the beginning, and the case says it is on: what is"
        " written in one turn is sent in one piece anyway, and the last part of a long answer would"
        " wait for the peer's delayed acknowledgement",
        shows="True != 0",
    ),
}

# Cases that skip themselves.
SKIPPED = {
    "test_time.GlibTimeTestsBuilder_GIReactorTests.test_timeout_add": Difference(
        why="it is about GLib's reactor", shows="No module named 'gi'"
    ),
    "test_udp.MulticastTestsIPv6.testTTL": Difference(
        why="it is about IPv4, and run for IPv6 too", shows="IPv6 has hops"
    ),
}


def run(kind: str, modules: list[str], folder: Path) -> dict[str, str]:
    """Return what came of each case, run in a process of its own in ``folder``."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.reactor.twisted_cases", kind, *modules],
        input=json.dumps(list(LEFT_OUT)),
        capture_output=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    outcomes: dict[str, str] = json.loads(done.stdout)
    return outcomes


def surprise(name: str, outcome: str) -> str | None:
    """Return what is wrong with what came of a case, or None if it is as it should be."""
    if name in LEFT_OUT:
        return None if outcome == WAS_LEFT_OUT else "it was not left out"
    if name in DIFFERENT:
        fits = DIFFERENT[name].shows in outcome and not outcome.startswith(WAS_SKIPPED)
        return None if fits else f"differs in another way, or not at all:\n{outcome}"
    if name in SKIPPED:
        fits = outcome.startswith(WAS_SKIPPED) and SKIPPED[name].shows in outcome
        return None if fits else f"was not skipped for the reason that is given:\n{outcome}"
    return None if outcome == PASSED else outcome


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what came of each case."""
    folder = tmp_path_factory.mktemp("twisted_cases")
    return {**run("builders", BUILDERS, folder), **run("installed", INSTALLED, folder)}


def test_every_case(outcomes: dict[str, str]) -> None:
    """Every case passes on our reactor, but those that are explained."""
    surprises = {name: surprise(name, outcome) for name, outcome in outcomes.items()}
    found = "\n\n".join(f"{name}: {what}" for name, what in surprises.items() if what)
    assert not found, found


def test_explained_cases(outcomes: dict[str, str]) -> None:
    """Every case that is explained is one that Twisted still has."""
    explained = LEFT_OUT.keys() | DIFFERENT.keys() | SKIPPED.keys()
    assert explained - outcomes.keys() == set()


def test_cases_are_many(outcomes: dict[str, str]) -> None:
    """What is run are Twisted's cases, and not what little of them was found."""
    modules = {name.partition(".")[0] for name, outcome in outcomes.items() if outcome == PASSED}
    assert len(modules) >= len(BUILDERS) + len(INSTALLED) - 6  # some have the same name
    assert sum(outcome == PASSED for outcome in outcomes.values()) > 750
