"""The least rate at which clients take responses."""

from __future__ import annotations

from tests.http.slow_reader import BODY, SlowReader, large
from tests.memory import AppTestCase
from x121.http.delivery import SLICE_BYTES
from x121.http.send_rate import WINDOW_SECS


class SendRateTests(AppTestCase):
    """Transports in memory have no socket: there it counts whether all was taken in a window."""

    def setUp(self) -> None:
        self.server = self.app(large)

    def test_nothing_is_taken(self) -> None:
        """A client that takes nothing in a window is dropped: 408, logged with what it was sent."""
        reader = SlowReader(self.server)
        self.server.clock.advance(WINDOW_SECS - 0.1)
        self.assertFalse(reader.is_dropped)
        self.server.clock.advance(0.1)
        self.server.clock.advance(0)
        self.assertTrue(reader.is_dropped)
        (line,) = self.server.lines("x121.http")
        self.assertEqual((line["level"], line["remote"]), ("info", "192.0.2.7"))
        self.assertIn("too slowly", line["message"])
        (access,) = self.server.lines("x121.access")
        self.assertEqual((access["status"], access["bytes"]), (408, SLICE_BYTES))
        self.assertEqual(self.server.site.connections, 0)
        self.assertEqual(self.server.clock.getDelayedCalls(), [])

    def test_steady(self) -> None:
        """A client that takes what it is sent in each window gets all of it."""
        reader = SlowReader(self.server)
        while not self.server.lines("x121.access"):
            self.server.clock.advance(WINDOW_SECS - 1)
            reader.take()
        self.assertEqual(reader.take_all(), BODY)
        self.assertEqual(self.server.lines("x121.http"), [])

    def test_stops_in_the_middle(self) -> None:
        """One that took much at first, and then nothing, is dropped, too."""
        reader = SlowReader(self.server)
        reader.take()
        self.server.clock.advance(WINDOW_SECS)
        self.assertFalse(reader.is_dropped)
        self.server.clock.advance(WINDOW_SECS)
        self.assertTrue(reader.is_dropped)

    def test_nothing_is_left(self) -> None:
        """A response that is taken at once leaves no timer, and one that is taken later none."""
        connection = self.server.connect()
        connection.request("GET", "/test/now")
        connection.disconnect()
        self.assertEqual(self.server.clock.getDelayedCalls(), [])
        reader = SlowReader(self.server)
        reader.take_all()
        self.server.clock.advance(WINDOW_SECS)
        self.assertFalse(reader.is_dropped)
        reader.connection.disconnect()
        self.assertEqual(self.server.clock.getDelayedCalls(), [])

    def test_finished(self) -> None:
        """A response that was written at once is bounded, too, and so is all that follows it."""
        connection = self.server.connect()
        connection.request("GET", "/health")
        connection.channel.pauseProducing()  # as TCP does when its buffer is full
        self.server.clock.advance(WINDOW_SECS)
        self.assertTrue(connection.transport.aborted)
        self.assertEqual(len(self.server.lines("x121.http")), 1)

    def test_no_limit(self) -> None:
        """With 0 nobody is dropped, and no timer runs."""
        self.server = self.app(large, MIN_SEND_BYTES_PER_SEC="0")
        reader = SlowReader(self.server)
        self.assertEqual(self.server.clock.getDelayedCalls(), [])
        self.server.clock.advance(10 * WINDOW_SECS)
        self.assertFalse(reader.is_dropped)

    def test_stop(self) -> None:
        """The rate holds while the server stops, and ends the wait for a slow client."""
        reader = SlowReader(self.server)
        drained = self.server.site.drain()
        self.server.clock.advance(WINDOW_SECS)
        self.server.clock.advance(0)
        self.assertTrue(reader.is_dropped)
        self.successResultOf(drained)
