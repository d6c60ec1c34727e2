"""Large bodies: written in slices, as fast as they are taken."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.http.slow_reader import BODY, SlowReader, large
from tests.memory import AppTestCase
from x121.http.delivery import SLICE_BYTES, Delivery

_MARK = 65_536


class Reader:
    """A request whose transport keeps what is written until :meth:`take`, as TCP's does."""

    def __init__(self) -> None:
        self.producer: Any = None
        self.is_finished = False
        self.is_blocked = False
        self.waiting = b""
        self.taken = b""
        self.most_waiting = 0
        self.pauses = 0

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, data: bytes) -> None:
        assert type(data) is bytes
        assert not self.is_finished
        self.waiting += data
        self.most_waiting = max(self.most_waiting, len(self.waiting))
        if len(self.waiting) > _MARK:
            self.pauses += 1
            self.producer.pauseProducing()

    def finish(self) -> None:
        assert self.producer is None
        assert not self.is_finished
        self.is_finished = True

    def take(self) -> None:
        """Take all that waits, and want more."""
        self.taken, self.waiting = self.taken + self.waiting, b""
        if self.producer is not None:
            self.producer.resumeProducing()


class DeliveryTests(SynchronousTestCase):
    @given(st.integers(1, 5 * SLICE_BYTES))
    def test_any_size(self, size: int) -> None:
        """All of a body arrives, a slice waits at most, and the request finishes with the last."""
        reader, body = Reader(), BODY[:size] + bytes(max(0, size - len(BODY)))
        Delivery(reader, body).start()
        while not reader.is_finished:
            self.assertGreater(len(reader.waiting), 0)
            reader.take()
        reader.take()
        self.assertEqual(reader.taken, body)
        self.assertLessEqual(reader.most_waiting, SLICE_BYTES)
        self.assertEqual(reader.pauses, -(-size // SLICE_BYTES) - (0 < size % SLICE_BYTES <= _MARK))

    def test_gone(self) -> None:
        """A delivery whose connection is gone writes no more, and lets go of the body."""
        reader = Reader()
        delivery = Delivery(reader, BODY)
        delivery.start()
        delivery.stopProducing()
        reader.is_finished = True
        delivery.resumeProducing()
        self.assertEqual(len(reader.waiting), SLICE_BYTES)


class LargeResponseTests(AppTestCase):
    def setUp(self) -> None:
        self.server = self.app(large, REQUEST_TIMEOUT_SECS="5", MIN_SEND_BYTES_PER_SEC="0")

    def test_whole(self) -> None:
        """A large response is what a small one is, whoever makes it."""
        response = self.server.request("GET", "/test/now")
        self.assertEqual((response.status, response.body), (200, BODY))
        self.assertEqual(response.headers["content-length"], str(len(BODY)))
        self.assertEqual(self.server.lines("x121.access")[0]["bytes"], len(BODY))
        self.assertEqual(self.server.request("GET", "/test/rest").body, b"first, " + BODY)

    def test_no_body(self) -> None:
        """HEAD and 204 have none; a page of an error is replaced, whatever its size."""
        head = self.server.request("HEAD", "/test/now")
        self.assertEqual((head.body, head.headers["content-length"]), (b"", str(len(BODY))))
        self.assertEqual(self.server.request("GET", "/test/none").status, 204)
        page = self.server.request("GET", "/test/page")
        self.assertEqual((page.status, page.json["code"]), (404, "NOT_FOUND"))

    def test_slices(self) -> None:
        """A client that takes nothing is sent one slice; the request is over with the last one."""
        reader = SlowReader(self.server)
        self.assertEqual(reader.received, SLICE_BYTES)
        self.assertEqual(self.server.lines("x121.access"), [])
        self.assertEqual(reader.take_all(), BODY)
        self.assertEqual(self.server.lines("x121.access")[0]["bytes"], len(BODY))

    def test_timeout(self) -> None:
        """REQUEST_TIMEOUT_SECS is the handler's time: its client may take longer."""
        for path in ("/test/now", "/test/late"):
            reader = SlowReader(self.server, path)
            self.server.clock.advance(1)
            self.server.clock.advance(100)
            self.assertFalse(reader.is_dropped)
            self.assertEqual(reader.take_all(), BODY)

    def test_client_leaves(self) -> None:
        """A client that leaves in the middle is logged as 499, with the bytes that it was sent."""
        SlowReader(self.server).connection.disconnect()
        (line,) = self.server.lines("x121.access")
        self.assertEqual((line["status"], line["bytes"]), (499, SLICE_BYTES))

    def test_half_closed(self) -> None:
        """A client that sends no more still gets the rest of a response that is on its way."""
        reader = SlowReader(self.server)
        reader.connection.channel.readConnectionLost()
        self.assertFalse(reader.connection.closed)
        self.assertEqual(reader.take_all(), BODY)
        self.assertTrue(reader.connection.closed)
        self.assertFalse(reader.is_dropped)

    def test_pipelined(self) -> None:
        """The next request begins when the large response is taken."""
        reader = SlowReader(self.server)
        reader.connection.send(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(self.server.lines("x121.access"), [])
        self.assertEqual(reader.take_all(), BODY)
        self.server.clock.advance(0)
        self.assertEqual(reader.connection.response().json, {"status": "ok"})

    def test_stop(self) -> None:
        """A stop waits for a large response, and drops it when its time is over."""
        reader = SlowReader(self.server)
        drained = self.server.site.drain()
        self.assertNoResult(drained)
        self.assertEqual(self.server.site.drop(), 1)
        self.server.clock.advance(0)
        self.assertTrue(reader.is_dropped)
        self.successResultOf(drained)
