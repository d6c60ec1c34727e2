"""Tests of the server in memory, over every kind of channel."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from x121.http.channel import Channel
from x121.testing.app import App, Served

__all__ = ["ORIGIN", "AppTestCase"]

ORIGIN = "http://localhost:5173"


class AppTestCase(SynchronousTestCase):
    """A test with servers in memory, which are forgotten when it ends.

    ``make_channel`` is what their connections are made with; see ``tests/contract``.
    """

    make_channel: type[Channel] = Channel

    def app(self, served: Served | None = None, **environ: str) -> App:
        """Return a server, with a feature that is ``served`` at ``/test``."""
        app = App(served, at="/test", pool=None, make_channel=self.make_channel, **environ)
        return self.enterContext(app)
