"""What systemd is told, read from a socket of the kind it listens on."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from x121.runtime.systemd import Notifier

READY = b"READY=1\nSTATUS=Serving"
STOPPING = b"STOPPING=1\nSTATUS=Stopping"
MORE_TIME = b"EXTEND_TIMEOUT_USEC=60000000"


class NotifierTests(SynchronousTestCase):
    """``Notifier``."""

    def setUp(self) -> None:
        """Listen as the service manager does."""
        # A socket's path is at most 108 bytes long, which trial's own folders are not.
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = str(Path(folder.name) / "notify")
        self.clock = Clock()
        self.manager = self.listen(self.path)

    def listen(self, address: str) -> socket.socket:
        """Return a socket that receives at ``address``."""
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(address)
        manager.setblocking(False)
        return manager

    def received(self) -> list[bytes]:
        """Return the messages that have come since the last time."""
        messages = []
        while True:
            try:
                messages.append(self.manager.recv(1000))
            except BlockingIOError:
                return messages

    def notifier(self, **environ: str) -> Notifier:
        """Return one that was told of the socket."""
        return Notifier({"NOTIFY_SOCKET": self.path, **environ}, clock=self.clock)

    def test_messages(self) -> None:
        """It says READY=1 and STOPPING=1, and nothing of itself."""
        notifier = self.notifier()
        self.assertEqual(self.received(), [])
        notifier.ready()
        self.assertEqual(self.received(), [READY])
        notifier.stopping()
        notifier.close()
        self.assertEqual(self.received(), [STOPPING, MORE_TIME])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_more_time(self) -> None:
        """A start and a stop ask for a minute, three times a minute, until they are over."""
        notifier = self.notifier()
        notifier.starting()
        notifier.status("Applying 0001_a.sql")
        self.assertEqual(self.received(), [MORE_TIME, b"STATUS=Applying 0001_a.sql"])
        self.clock.pump([10] * 12)
        self.assertEqual(self.received(), [MORE_TIME] * 6)
        notifier.ready()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        notifier.stopping()
        self.clock.pump([10] * 6)
        self.assertEqual(self.received(), [READY, STOPPING] + [MORE_TIME] * 4)
        notifier.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_while_it_starts(self) -> None:
        """A start that is stopped asks for the time of the stop, and then for no more."""
        notifier = self.notifier()
        notifier.starting()
        notifier.stopping()
        self.assertEqual(self.received(), [MORE_TIME, STOPPING, MORE_TIME])
        notifier.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_watchdog(self) -> None:
        """From ready to close, the watchdog is fed twice in the time it allows."""
        notifier = self.notifier(WATCHDOG_USEC="3000000", WATCHDOG_PID=str(os.getpid()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        notifier.ready()
        self.assertEqual(self.received(), [READY, b"WATCHDOG=1"])
        self.clock.pump([0.75] * 4)
        self.assertEqual(self.received(), [b"WATCHDOG=1"] * 2)
        notifier.stopping()
        self.clock.advance(1.5)
        self.assertEqual(self.received(), [STOPPING, MORE_TIME, b"WATCHDOG=1"])
        notifier.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_watchdog(self) -> None:
        """One that is meant for another process, or is no time, is not fed."""
        for environ in (
            {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid() + 1)},
            {"WATCHDOG_USEC": "0"},
            {"WATCHDOG_USEC": "soon"},
            {"WATCHDOG_USEC": "\u00b2"},
            {"WATCHDOG_USEC": "-1"},
            {"WATCHDOG_USEC": ""},
        ):
            self.notifier(**environ).ready()
            self.assertEqual(self.received(), [READY])
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_manager(self) -> None:
        """Without a service manager, or one at an address of another kind, nothing happens."""
        for environ in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}):
            notifier = Notifier({"WATCHDOG_USEC": "1000000", **environ}, clock=self.clock)
            notifier.ready()
            notifier.stopping()
            notifier.close()
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_abstract_address(self) -> None:
        """An address that begins with ``@`` is in Linux's abstract namespace."""
        name = f"x121-test-{os.getpid()}"
        manager = self.listen(f"\0{name}")
        Notifier({"NOTIFY_SOCKET": f"@{name}"}, clock=self.clock).ready()
        self.assertEqual(manager.recv(1000), READY)

    def test_manager_is_gone(self) -> None:
        """A manager that doesn't listen is a warning, and the watchdog is fed on."""
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, events.append)  # type: ignore[arg-type]
        self.manager.close()
        os.unlink(self.path)
        notifier = self.notifier(WATCHDOG_USEC="1000000")
        notifier.ready()
        ours = [event for event in events if event["log_namespace"] == "x121.runtime.systemd"]
        self.assertEqual([event["log_level"] for event in ours], [LogLevel.warn] * 2)
        self.manager = self.listen(self.path)
        self.clock.advance(0.5)
        self.assertEqual(self.received(), [b"WATCHDOG=1"])
        notifier.close()
