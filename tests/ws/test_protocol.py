"""RFC 6455 as it is spoken here: frames, faults, limits and the end."""

from __future__ import annotations

import gc
import struct
from contextvars import ContextVar
from typing import Any
from weakref import ref

from autobahn.twisted.websocket import WebSocketServerProtocol
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred, NotACoroutineError, ensureDeferred

from tests.ws.client import WebSocket, WebSocketTestCase
from x121.application import AppState
from x121.logs import CONNECTION_ID
from x121.messaging.handlers import Handlers, Message
from x121.messaging.router import WsRouter
from x121.testing.app import App
from x121.testing.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, client_frame
from x121.ws.connection import WsConnection
from x121.ws.options import Options
from x121.ws.protocol import CLOSE_TIMEOUT_SECS, Endpoint


class Slow:
    messages = Handlers()

    def __init__(self, state: AppState) -> None:
        self.waiting: list[Deferred[Any]] = []

    @messages.on("wait")
    def wait(self, message: Message) -> Deferred[Any]:
        self.waiting.append(Deferred())
        return self.waiting[-1]


class ProtocolTestCase(WebSocketTestCase):
    def echo(self, **environ: str) -> WebSocket:
        """Return a client of ``/ws/echo``."""
        return self.connect(self.app(None, DIAGNOSTICS="true", **environ), "/ws/echo")

    def slow(self, **environ: str) -> tuple[Slow, WebSocket]:
        """Return a feature whose handler waits, and a client of it."""
        features: list[Slow] = []

        def make(state: AppState) -> Handlers:
            features.append(Slow(state))
            return features[0].messages

        environ.setdefault("WS_HEARTBEAT_INTERVAL_SECS", "1000")
        client = self.connect(self.serve(make, **environ), "/test")
        return features[0], client


class FramesTests(ProtocolTestCase):
    def test_sizes(self) -> None:
        """Messages of every length encoding are echoed as they are, text and binary."""
        client = self.echo()
        for size in (0, 1, 125, 126, 127, 65_535, 65_536, 300_000):
            for opcode in (TEXT, BINARY):
                client.send(opcode, b"x" * size)
                self.assertEqual(client.frames(), [Frame(opcode, b"x" * size)])

    def test_fragments(self) -> None:
        """A message in fragments, with control frames between them, is one message."""
        client = self.echo()
        client.send(TEXT, b"one ", fin=False)
        client.send(PING, b"still there?")
        client.send(CONTINUATION, b"", fin=False)
        client.send(CONTINUATION, b"two ", fin=False)
        client.send(CONTINUATION, b"three")
        self.assertEqual(
            client.frames(), [Frame(PONG, b"still there?"), Frame(TEXT, b"one two three")]
        )

    def test_text_across_fragments(self) -> None:
        """A character may be cut by the end of a fragment."""
        client = self.echo()
        letters = "Grüße €".encode()
        for cut in range(1, len(letters)):
            client.send(TEXT, letters[:cut], fin=False)
            client.send(CONTINUATION, letters[cut:])
            self.assertEqual(client.frames(), [Frame(TEXT, letters)])

    def test_pong(self) -> None:
        """A ping is answered with its own bytes; a pong that nobody asked for with nothing."""
        client = self.echo()
        client.send(PING, b"x" * 125)
        client.send(PONG, b"unasked")
        self.assertEqual(client.frames(), [Frame(PONG, b"x" * 125)])


class FaultsTests(ProtocolTestCase):
    def assert_ends(self, data: bytes, code: int, **environ: str) -> WebSocket:
        """Fail unless ``data`` ends the connection with ``code`` and without being echoed."""
        client = self.echo(**environ)
        client.connection.send(data)
        self.assertClosed(client, code)
        self.assertTrue(client.connection.closed)
        self.assertFalse(client.connection.transport.disconnecting)  # so that nothing is reset
        app = client.app
        client.connection.disconnect()
        self.assertEqual(app.lines("x121.ws")[-1]["code"], code)
        self.assertEqual(app.clock.getDelayedCalls(), [])
        return client

    def test_framing(self) -> None:
        """Broken framing is 1002."""
        faults = {
            "reserved bits": client_frame(TEXT, b"x", reserved=4),
            "reserved opcode": client_frame(3, b"x"),
            "reserved control opcode": client_frame(11, b"x"),
            "not masked": client_frame(TEXT, b"x", masked=False),
            "control frame in fragments": client_frame(PING, b"x", fin=False),
            "large control frame": client_frame(PING, b"x" * 126),
            "continuation of nothing": client_frame(CONTINUATION, b"x"),
            "message within a message": (
                client_frame(TEXT, b"x", fin=False) + client_frame(TEXT, b"y")
            ),
            "length not minimal": b"\x81\xfe\x00\x01" + bytes(4) + b"x",
            "length over 63 bits": b"\x82\xff" + b"\xff" * 8 + bytes(4),
            "close frame of one byte": client_frame(CLOSE, b"x"),
        }
        for name, data in faults.items():
            with self.subTest(name):
                self.assert_ends(data, 1002)

    def test_close_codes(self) -> None:
        """Codes that nobody may send are 1002."""
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535):
            with self.subTest(code):
                client = self.echo()
                client.close(code)
                self.assertClosed(client, 1002)
                self.assertTrue(client.connection.closed)

    def test_utf8(self) -> None:
        """Text that isn't UTF-8 is 1007, as soon as that is certain."""
        for text in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"ok \xe2\x82"):
            with self.subTest(text):
                self.assert_ends(client_frame(TEXT, text), 1007)
        self.assert_ends(client_frame(TEXT, b"\xff", fin=False), 1007)
        reason = struct.pack("!H", 1000) + b"\xff"
        client = self.echo()
        client.send(CLOSE, reason)
        self.assertClosed(client, 1007)

    def test_large_message(self) -> None:
        """A message over the limit is 1009, before it has come in; one at the limit is taken."""
        client = self.echo(WS_MAX_MESSAGE_BYTES="1000")
        client.send(TEXT, b"x" * 1000)
        self.assertEqual(len(client.frames()), 1)
        self.assert_ends(client_frame(TEXT, b"x" * 1001), 1009, WS_MAX_MESSAGE_BYTES="1000")
        announced = b"\x82\xff" + struct.pack("!Q", 1 << 40) + bytes(4)
        client = self.echo(WS_MAX_MESSAGE_BYTES="1000")
        client.connection.send(announced)
        self.assertClosed(client, 1009)

    def test_large_in_fragments(self) -> None:
        """The limit is that of all fragments together."""
        part = client_frame(CONTINUATION, b"x" * 400, fin=False)
        data = client_frame(TEXT, b"x" * 400, fin=False) + part + part
        self.assert_ends(data, 1009, WS_MAX_MESSAGE_BYTES="1000")

    def test_many_fragments(self) -> None:
        """Fragments are counted, also those that are empty."""
        client = self.echo(WS_MAX_MESSAGE_BYTES="640")
        client.send(TEXT, fin=False)
        client.connection.send(client_frame(CONTINUATION, fin=False) * 1033)
        self.assertEqual(client.frames(), [])
        client.send(CONTINUATION, fin=False)
        self.assertClosed(client, 1009)

    def test_nothing_is_kept(self) -> None:
        """What comes behind a fault is neither kept nor handled."""
        client = self.echo(WS_MAX_MESSAGE_BYTES="1000")
        client.connection.send(client_frame(TEXT, b"x" * 1001) + client_frame(TEXT, b"y"))
        client.send(TEXT, b"z" * 900)
        client.close()
        self.assertClosed(client, 1009)
        self.assertEqual(len(client.protocol._message), 0)
        self.assertFalse(client.connection.transport.aborted)
        client.app.clock.advance(CLOSE_TIMEOUT_SECS)
        self.assertTrue(client.connection.transport.aborted)

    def test_only_once(self) -> None:
        """Of several faults in one frame the first one ends the connection, once."""
        client = self.echo(WS_MAX_MESSAGE_BYTES="1000")
        ends: list[None] = []
        client.connection.transport.loseWriteConnection = (  # type: ignore[method-assign]
            lambda: ends.append(None)
        )
        frame = client_frame(3, b"\xff" * 1001, reserved=7, masked=False)
        client.connection.send(frame[:500])
        self.assertClosed(client, 1002)
        client.connection.send(frame[500:])
        self.assertEqual((client.frames(), len(ends)), ([], 1))
        self.assertEqual(len(client.protocol._message), 0)

    def test_fault_behind_what_waits(self) -> None:
        """A peer that makes a fault is sent what waits for it first."""
        client = self.echo()
        client.outbox.pauseProducing()
        client.send(PING)
        client.send(CONTINUATION, b"y")
        echoed, close = client.frames()
        self.assertEqual((echoed.opcode, close.code), (PONG, 1002))


class AnyBytesTests(ProtocolTestCase):
    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from([TEXT, BINARY, PING]), st.text(max_size=40)), max_size=12
        ),
        st.lists(st.integers(1, 50), min_size=1),
    )
    def test_any_cut(self, sent: list[tuple[int, str]], cuts: list[int]) -> None:
        """However the bytes are cut by the network, the same frames come back in order."""
        client = self.echo()
        data = b"".join(client_frame(opcode, text.encode()) for opcode, text in sent)
        position = 0
        while position < len(data):
            for cut in cuts:
                client.connection.send(data[position : position + cut])
                position += cut
        expected = [
            Frame(PONG if opcode == PING else opcode, text.encode()) for opcode, text in sent
        ]
        self.assertEqual(client.frames(), expected)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.binary(max_size=200), max_size=5))
    def test_any_bytes(self, pieces: list[bytes]) -> None:
        """Whatever bytes come, the answers are frames, and nothing is logged as our fault."""
        client = self.echo()
        for piece in pieces:
            client.connection.send(piece)
        client.frames()
        client.connection.disconnect()
        self.assertEqual([line for line in client.app.log if line["level"] != "info"], [])
        self.assertEqual(client.app.state.ws_manager.connection_count(), 0)


class ClosingTests(ProtocolTestCase):
    def test_peer_closes(self) -> None:
        """A close frame is answered with its own code, then the connection closes."""
        for code in (1000, 1001, 1011, 3000, 4999):
            client = self.echo()
            client.close(code)
            self.assertClosed(client, code)
            self.assertTrue(client.connection.closed)
            client.app.clock.advance(0)
            line = client.app.lines("x121.ws")[-1]
            self.assertEqual((line["code"], line["connection_id"]), (code, client.id))

    def test_first_code(self) -> None:
        """The code that is logged is that of whoever closed first, answered or not."""
        for end in (
            lambda client: client.connection.disconnect(),
            lambda client: client.protocol.connection.close(4001),
        ):
            _, client = self.slow()
            client.send_message("wait")
            client.close(4000)
            end(client)
            client.app.clock.advance(0)
            self.assertEqual(client.app.lines("x121.ws")[-1]["code"], 4000)

    def test_no_code(self) -> None:
        """A close frame without a code is answered with one, and logged as 1005."""
        client = self.echo()
        client.send(CLOSE)
        self.assertEqual(client.frames(), [Frame(CLOSE, b"")])
        client.app.clock.advance(0)
        self.assertEqual(client.app.lines("x121.ws")[-1]["code"], 1005)

    def test_behind_a_close_frame(self) -> None:
        """What comes behind a close frame is ignored."""
        client = self.echo()
        client.connection.send(client_frame(CLOSE) + client_frame(TEXT, b"x"))
        self.assertEqual(client.frames(), [Frame(CLOSE, b"")])

    def test_nothing_is_left(self) -> None:
        """A connection that is gone is freed at once, not when the garbage collector comes."""
        app = self.app()
        for end in (WebSocket.close, lambda client: client.connection.disconnect()):
            client = self.connect(app)
            protocol = ref(client.protocol)
            gc.collect()
            gc.disable()
            self.addCleanup(gc.enable)
            end(client)
            app.clock.advance(0)
            client.connection.transport.protocol = None
            del client.connection.channel
            self.assertIsNone(protocol())

    def test_nothing_is_kept(self) -> None:
        """Nothing is kept of a message that was handled, nor of what comes behind a close frame."""
        slow, client = self.slow()
        client.send_message("wait", "x" * 1000)
        self.assertEqual(len(client.protocol._message), 0)
        client.close()
        client.send(TEXT, b"x" * 100_000)
        self.assertEqual(len(client.protocol.data) + len(client.protocol._reader._unread), 0)
        slow.waiting[0].callback(None)
        self.assertEqual([frame.opcode for frame in client.frames()], [TEXT, CLOSE])

    def test_peer_vanishes(self) -> None:
        """A peer that is gone without a word is logged as 1006, with the time it was there."""
        client = self.echo()
        client.app.clock.advance(1.25)
        client.connection.disconnect()
        self.assertEqual(client.app.lines("x121.ws")[-1]["seconds"], 1.25)
        self.assertEqual(client.app.lines("x121.ws")[-1]["code"], 1006)
        self.assertEqual(client.app.clock.getDelayedCalls(), [])

    def test_server_closes(self) -> None:
        """The server waits for the peer's close frame, then closes gently."""
        client = self.echo()
        client.protocol.connection.close(4001, "enough")
        self.assertEqual(client.frames(), [Frame(CLOSE, struct.pack("!H", 4001) + b"enough")])
        self.assertFalse(client.connection.closed)
        client.send(TEXT, b"too late")
        client.close(4001)
        self.assertTrue(client.connection.closed)
        self.assertFalse(client.connection.transport.aborted)
        self.assertEqual(client.frames(), [])

    def test_code_of_the_application(self) -> None:
        """Features close with 1000 or codes of their own; the others are the server's."""
        connection = self.echo().protocol.connection
        for code in (0, 1001, 1006, 2999, 5000):
            self.assertRaises(ValueError, connection.close, code)
        for code in (1000, 3000, 4999):
            client = self.echo()
            client.protocol.connection.close(code)
            self.assertClosed(client, code)

    def test_long_reason(self) -> None:
        """A reason is cut where a close frame ends, and between characters."""
        for reason, sent in (("€" * 100, "€" * 41), ("x" * 200, "x" * 123)):
            client = self.echo()
            client.protocol.connection.close(1000, reason)
            (frame,) = client.frames()
            self.assertEqual(frame.payload[2:].decode(), sent)

    def test_close_is_not_answered(self) -> None:
        """A peer that doesn't answer a close frame in time is dropped."""
        client = self.echo()
        client.protocol.connection.close()
        client.app.clock.advance(CLOSE_TIMEOUT_SECS - 0.1)
        self.assertFalse(client.connection.transport.aborted)
        client.app.clock.advance(0.1)
        self.assertTrue(client.connection.transport.aborted)
        client.app.clock.advance(0)
        self.assertEqual(client.app.clock.getDelayedCalls(), [])

    def test_answer_is_not_taken(self) -> None:
        """A peer that closes, and then takes nothing, is dropped."""
        client = self.echo()
        client.take_nothing()
        client.close()
        client.app.clock.advance(CLOSE_TIMEOUT_SECS)
        self.assertTrue(client.connection.transport.aborted)


class BoundsTests(ProtocolTestCase):
    def test_messages_wait(self) -> None:
        """At most 16 messages wait, and 64 KiB more unread; then the network isn't read either."""
        slow, client = self.slow()
        frame = client_frame(TEXT, b'{"type":"wait"}')
        client.connection.send(frame * 17)
        self.assertEqual(len(client.protocol._inbox._waiting), 16)
        for _ in range(4):
            client.connection.send(frame * (16_384 // len(frame)))
            self.assertFalse(client.is_paused)
        client.connection.send(frame * (16_384 // len(frame)) + frame)
        self.assertTrue(client.is_paused)
        self.assertEqual(len(client.protocol._inbox._waiting), 16)
        for number in range(2 * 16_384 // len(frame)):
            slow.waiting[number].callback(None)
            client.app.clock.advance(0)
        self.assertFalse(client.is_paused)

    def test_one_read(self) -> None:
        """Of what comes in one piece no more is taken apart than may wait, and none is lost."""
        slow, client = self.slow()
        client.connection.send(client_frame(TEXT, b'{"type":"wait"}') * 100)
        self.assertEqual(len(client.protocol._inbox._waiting), 16)
        for number in range(100):
            slow.waiting[number].callback(number)
            client.app.clock.advance(0)
        self.assertEqual([answer["data"] for answer in client.messages()], list(range(100)))

    def test_bytes_wait(self) -> None:
        """Large messages wait in smaller numbers."""
        slow, client = self.slow(WS_MAX_MESSAGE_BYTES="1000")
        for _ in range(10):
            client.send_message("wait", "x" * 400)
        self.assertEqual(len(client.protocol._inbox._waiting), 3)
        slow.waiting[0].callback(None)
        client.app.clock.advance(0)
        self.assertEqual(len(client.protocol._inbox._waiting), 3)

    def test_answers_are_taken_first(self) -> None:
        """The next message is answered when the answers before are taken, however large."""
        app = self.app(None, DIAGNOSTICS="true", WS_SEND_BUFFER_BYTES="1000")
        client = self.connect(app, "/ws/echo")
        client.outbox.pauseProducing()
        for letter in (b"x", b"y", b"z"):
            client.send(TEXT, letter * 5000)
        self.assertEqual(client.frames(), [])
        client.outbox.resumeProducing()
        self.assertEqual([frame.payload[:1] for frame in client.frames()], [b"x", b"y", b"z"])

    def test_one_that_leaves_is_not_waited_for(self) -> None:
        """Who closes, and takes nothing, is answered all the same: nothing would end it else."""
        client = self.echo()
        client.outbox.pauseProducing()
        client.send(TEXT, b"x")
        client.close()
        self.assertEqual([frame.opcode for frame in client.frames()], [TEXT, CLOSE])
        self.assertTrue(client.connection.closed)

    def test_many_frames(self) -> None:
        """Of many frames in one piece some are read in a turn, then others have theirs."""
        client = self.echo()
        client.connection.transport.protocol.dataReceived(client_frame(TEXT, b"x") * 1000)
        echoed = len(client.frames())
        self.assertLess(echoed, 50)
        while more := len(client.frames()):
            self.assertLess(more, 50)
            echoed += more
            client.app.clock.advance(0)
        turns = 0
        while echoed < 1000:
            client.app.clock.advance(0)
            echoed += len(client.frames())
            turns += 1
            self.assertLess(turns, 100)
        self.assertEqual(echoed, 1000)

    def test_lingering(self) -> None:
        """What comes behind a fault is thrown away, but not for ever."""
        client = self.echo()
        client.send(CONTINUATION, b"x")
        for _ in range(64):
            client.connection.send(bytes(1 << 20))
        self.assertFalse(client.connection.transport.aborted)
        client.connection.send(b"x")
        self.assertTrue(client.connection.transport.aborted)

    def test_close_while_messages_wait(self) -> None:
        """When the server closes, what waits is forgotten, and the peer's close frame is read."""
        slow, client = self.slow()
        for number in range(20):
            client.send_message("wait", number)
        self.assertTrue(client.protocol._inbox.is_full)
        client.protocol.connection.close(4000)
        self.assertClosed(client, 4000)
        client.app.clock.advance(0)
        client.close(4000)
        self.assertTrue(client.connection.closed)
        client.app.clock.advance(0)
        self.assertTrue(slow.waiting[0].called)
        self.assertEqual(len(slow.waiting), 1)

    def test_both_close(self) -> None:
        """A peer whose close frame waits for an answer, when the server closes, is let go."""
        _, client = self.slow()
        client.send_message("wait")
        client.close(4000)
        self.assertEqual(client.frames(), [])
        client.protocol.connection.close(4001)
        self.assertClosed(client, 4001)
        self.assertTrue(client.connection.closed)
        self.assertFalse(client.connection.transport.aborted)

    def test_largest_message(self) -> None:
        """A message of the largest size, behind nothing, is handled at once."""
        _, client = self.slow(WS_MAX_MESSAGE_BYTES="1000")
        message = b'{"type":"ping"'.ljust(999) + b"}"
        client.connection.send(client_frame(TEXT, message) + client_frame(TEXT, message))
        self.assertEqual(len(client.messages()), 2)

    def test_slow_reader(self) -> None:
        """Who leaves more waiting than the limit is sent 1013, and dropped if that waits too."""
        app = self.app(WS_SEND_BUFFER_BYTES="1000", WS_HEARTBEAT_INTERVAL_SECS="1000")
        client = self.connect(app)
        client.take_nothing()
        for _ in range(5):
            app.state.ws_manager.broadcast("event", "x" * 100)
        self.assertEqual(client.frames(), [])
        self.assertTrue(client.protocol.can_send)
        app.state.ws_manager.broadcast("event", "x" * 1000)
        self.assertFalse(client.protocol.can_send)
        app.clock.advance(CLOSE_TIMEOUT_SECS)
        self.assertTrue(client.connection.transport.aborted)
        app.clock.advance(0)
        self.assertEqual(app.lines("x121.ws")[-1]["code"], 1013)

    def test_no_room_for_the_close_frame(self) -> None:
        """The close frame is sent, even if the limit has no room for it."""
        app = self.app(WS_SEND_BUFFER_BYTES="1", WS_HEARTBEAT_INTERVAL_SECS="1000")
        client = self.connect(app)
        client.take_nothing()
        app.state.ws_manager.broadcast("event")
        client.outbox.resumeProducing()
        self.assertClosed(client, 1013)

    def test_slow_reader_reads(self) -> None:
        """Who reads at last finds the close frame behind what was on its way."""
        app = self.app(WS_SEND_BUFFER_BYTES="1000", WS_HEARTBEAT_INTERVAL_SECS="1000")
        client = self.connect(app)
        client.take_nothing()
        for _ in range(20):
            app.state.ws_manager.broadcast("event", "x" * 100)
        client.outbox.resumeProducing()
        self.assertClosed(client, 1013)

    def test_pongs_wait_too(self) -> None:
        """Pongs that nobody takes are bounded like everything else."""
        app = self.app(WS_SEND_BUFFER_BYTES="1000", WS_HEARTBEAT_INTERVAL_SECS="1000")
        client = self.connect(app)
        client.take_nothing()
        client.connection.send(client_frame(PING, b"x" * 100) * 20)
        self.assertFalse(client.protocol.can_send)

    def test_reader_catches_up(self) -> None:
        """Who reads in time misses nothing, and gets it in order."""
        app = self.app(WS_HEARTBEAT_INTERVAL_SECS="1000")
        client = self.connect(app)
        client.take_nothing()
        for number in range(1000):
            app.state.ws_manager.broadcast("event", number)
        client.connection.transport.full = False
        client.outbox.resumeProducing()
        self.assertEqual([message["data"] for message in client.messages()], list(range(1000)))

    def test_close_behind_what_waits(self) -> None:
        """A peer that closes is sent what waits for it first."""
        app = self.app(WS_HEARTBEAT_INTERVAL_SECS="1000")
        client = self.connect(app)
        client.outbox.pauseProducing()
        app.state.ws_manager.broadcast("event", 1)
        client.close()
        event, close = client.frames()
        self.assertEqual((event.opcode, close.code), (TEXT, 1000))


class Own:
    """An endpoint whose every answer, a greeting too, is a test's own."""

    takes_events = False

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.waiting: list[Deferred[Any]] = []

    def opened(self, connection: WsConnection) -> None:
        if self.error is not None:
            raise self.error

    def received(self, connection: WsConnection, payload: bytes, is_binary: bool) -> Deferred[Any]:
        self.waiting.append(Deferred())
        return self.waiting[-1].addCallback(connection.send_payload)


class EndpointTests(WebSocketTestCase):
    def mounted(self, endpoint: Endpoint) -> WebSocket:
        """Return a client of ``endpoint``."""

        def router(state: AppState) -> Any:
            websockets = WsRouter(state.config, state.ws_manager)
            return websockets.mount("/own", endpoint).routes

        return WebSocket(self.app(router), "/test/own")

    def test_deferreds(self) -> None:
        """What an endpoint returns may be a Deferred, which the next message waits for."""
        endpoint = Own()
        client = self.mounted(endpoint)
        client.send(TEXT, b"one")
        client.send(TEXT, b"two")
        self.assertEqual(len(endpoint.waiting), 1)
        for number, answer in enumerate((b"1", b"2")):
            endpoint.waiting[number].callback(answer)
            self.assertEqual(client.frames(), [Frame(TEXT, answer)])

    def test_coroutines(self) -> None:
        """A coroutine that doesn't wait is done at once; one that does holds back the next."""

        class Patient(Own):
            async def received(self, connection: WsConnection, payload: bytes, _: bool) -> None:  # type: ignore[override]
                if payload == b"wait":
                    self.waiting.append(Deferred())
                    payload = await self.waiting[-1]
                connection.send_payload(payload)

        endpoint = Patient()
        client = self.mounted(endpoint)
        for payload in (b"one", b"wait", b"three"):
            client.send(TEXT, payload)
        self.assertEqual(client.frames(), [Frame(TEXT, b"one")])
        endpoint.waiting[0].callback(b"two")
        self.assertEqual(client.frames(), [Frame(TEXT, b"two"), Frame(TEXT, b"three")])

    def test_coroutines_that_fail(self) -> None:
        """A coroutine that fails ends its connection, whether it waited or not."""

        class Failing(Own):
            async def received(self, _: WsConnection, payload: bytes, __: bool) -> None:  # type: ignore[override]
                if payload == b"wait":
                    self.waiting.append(Deferred())
                    await self.waiting[-1]
                raise ZeroDivisionError

        endpoint = Failing()
        for payload in (b"now", b"wait"):
            client = self.mounted(endpoint)
            client.send(TEXT, payload)
            for waiting in endpoint.waiting:
                waiting.callback(None)
            self.assertClosed(client, 1011)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_nothing_to_wait_for(self) -> None:
        """What an endpoint returns, and nobody can wait for, ends the connection as a fault."""

        class Odd(Own):
            def received(self, *_: object) -> Any:
                return "done"

        client = self.mounted(Odd())
        client.send(TEXT, b"x")
        self.assertClosed(client, 1011)
        self.assertEqual(len(self.flushLoggedErrors(NotACoroutineError)), 1)

    def test_contexts(self) -> None:
        """What is set in a context variable for one message isn't there for the next."""
        variable: ContextVar[str] = ContextVar("variable", default="nothing")

        class Remembering(Own):
            def received(self, connection: WsConnection, payload: bytes, _: bool) -> Any:
                told = f"{variable.get()} {CONNECTION_ID.get() == connection.id}"
                variable.set("something")
                connection.send_payload(told.encode())

        client = self.mounted(Remembering())
        for _ in range(2):
            client.send(TEXT, b"x")
            self.assertEqual(client.frames(), [Frame(TEXT, b"nothing True")])
        self.assertEqual((variable.get(), CONNECTION_ID.get()), ("nothing", None))

    def test_no_greeting(self) -> None:
        """A connection whose endpoint fails to greet it is closed with 1011, and that logged."""
        endpoint = Own()
        endpoint.error = ZeroDivisionError()
        client = self.mounted(endpoint)
        (close,) = client.frames()
        self.assertEqual((close.opcode, close.code), (CLOSE, 1011))
        self.assertFalse(client.connection.closed)
        _, line = client.app.lines("x121.ws")
        self.assertEqual((line["level"], line["connection_id"]), ("error", client.id))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        client.close(1011)
        self.assertTrue(client.connection.closed)

    def test_failures(self) -> None:
        """What an endpoint raises is logged with the connection's id, and closes it with 1011."""
        endpoint = Own()
        client = self.mounted(endpoint)
        client.send(TEXT, b"one")
        endpoint.waiting[0].errback(ZeroDivisionError())
        self.assertClosed(client, 1011)
        line = client.app.lines("x121.ws")[-1]
        self.assertEqual((line["level"], line["connection_id"]), ("error", client.id))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_late_failure(self) -> None:
        """What an endpoint raises when its client has left is logged, with the connection's id."""

        class Late(Own):
            def received(self, *_: object) -> Deferred[Any]:
                waiting: Deferred[Any] = Deferred()
                return waiting.addErrback(lambda _: 1 // 0)

        client = self.mounted(Late())
        client.send(TEXT, b"one")
        client.connection.disconnect()
        lines = client.app.lines("x121.ws")
        failed = [line for line in lines if line["level"] == "error"]
        self.assertEqual([line["connection_id"] for line in failed], [client.id])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_too_late(self) -> None:
        """What comes when the server has closed is not handled: nobody would get the answer."""
        endpoint = Own()
        client = self.mounted(endpoint)
        client.protocol.connection.close()
        client.send(TEXT, b"whole")
        client.send(TEXT, b"in ", fin=False)
        client.send(CONTINUATION, b"parts")
        self.assertEqual(endpoint.waiting, [])

    def test_no_endpoint(self) -> None:
        """What lacks a member of an endpoint isn't mounted."""
        state = self.app().state
        nothing: Any = object()
        router = WsRouter(state.config, state.ws_manager)
        error = self.assertRaises(TypeError, router.mount, "/own", nothing)
        self.assertIn("no takes_events", str(error))

    def test_exit(self) -> None:
        """An endpoint that wants to end the process ends its connection."""

        class Exit(Own):
            def received(self, *_: object) -> Any:
                raise SystemExit

        client = self.mounted(Exit())
        client.send(TEXT, b"one")
        self.assertClosed(client, 1011)
        self.assertEqual(len(self.flushLoggedErrors(SystemExit)), 1)

    def test_unfit_user(self) -> None:
        """A connection that the manager can't take is closed with 1011, and counted nowhere."""
        unfit: Any = []

        def router(state: AppState) -> Any:
            manager = state.ws_manager
            return WsRouter(state.config, manager, authenticate=lambda _: unfit).routes

        client = WebSocket(self.app(router), "/test")
        self.assertClosed(client, 1011)
        self.assertEqual(client.app.state.ws_manager.connection_count(), 0)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_abort(self) -> None:
        """After it was aborted nothing more is handled or sent, of what came with it either."""
        endpoint = Own()
        client = self.mounted(endpoint)
        client.connection.transport.protocol.dataReceived(client_frame(TEXT, b"x") * 10)
        connection = client.protocol.connection
        connection.abort()
        self.assertFalse(connection.send_payload(b"x"))
        client.app.clock.advance(0)
        self.assertEqual(len(endpoint.waiting), 1)
        self.assertTrue(endpoint.waiting[0].called)
        self.assertEqual(client.app.lines("x121.ws")[-1]["code"], 1006)

    def test_on_close(self) -> None:
        """Who wants to know is told when a connection is gone, and that it isn't counted then."""
        client = self.mounted(Own())
        connection, manager = client.protocol.connection, client.app.state.ws_manager
        told: list[int] = []
        connection.on_close(lambda: 1 // 0)
        connection.on_close(lambda: told.append(manager.connection_count()))
        client.close()
        client.app.clock.advance(0)
        self.assertEqual(told, [0])
        connection.on_close(lambda: told.append(1))
        self.assertEqual(told, [0, 1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class FullOutboxTests(WebSocketTestCase):
    def setUp(self) -> None:
        handlers = Handlers()
        self.waiting: Deferred[Any] = Deferred()
        handlers.on("wait")(lambda _: self.waiting)
        environ = {"WS_SEND_BUFFER_BYTES": "100", "WS_HEARTBEAT_INTERVAL_SECS": "1000"}
        self.server: App = self.serve(lambda _: handlers, **environ)

    def full(self) -> WebSocket:
        """Return a client for whom 98 of at most 100 bytes wait."""
        client = self.connect(self.server, "/test")
        client.take_nothing()
        self.assertTrue(client.protocol.connection.send_payload(b"x" * 96))
        return client

    def test_peer_closes(self) -> None:
        """A peer that closes is answered with its own code, behind what waits."""
        client = self.full()
        client.close(4000)
        text, close = client.frames()
        self.assertEqual((text.opcode, close.opcode, close.code), (TEXT, CLOSE, 4000))
        self.server.clock.advance(CLOSE_TIMEOUT_SECS)
        self.server.clock.advance(0)
        lines = [(line["level"], line["message"][:22]) for line in self.server.lines("x121.ws")]
        self.assertEqual(lines[1:], [("info", "WebSocket closed with ")])
        self.assertEqual(self.server.lines("x121.ws.inbox"), [])

    def test_both_close(self) -> None:
        """A peer whose close frame waits doesn't disturb the others when the server closes."""
        client = self.full()
        other = self.connect(self.server, "/test")
        client.send_message("wait")
        client.close(4000)
        closing = ensureDeferred(self.server.state.ws_manager.close())
        self.assertNoResult(closing)
        self.assertClosed(other, 1001)

    def test_code(self) -> None:
        """The code that is logged is the one that was sent."""
        client = self.full()
        client.protocol.connection.close(4000)
        client.outbox.resumeProducing()
        sent = client.frames()[-1].code
        client.connection.disconnect()
        self.assertEqual(self.server.lines("x121.ws")[-1]["code"], sent)


class OptionsTests(WebSocketTestCase):
    def test_no_other_timers(self) -> None:
        """Autobahn starts no timers of its own, which would not run on our clock."""
        timers = set(reactor.getDelayedCalls())
        client = self.connect(self.app())
        client.protocol.connection.close()
        self.assertEqual(set(reactor.getDelayedCalls()) - timers, set())

    def test_every_option_is_set(self) -> None:
        """There is no option of Autobahn's that isn't set on purpose."""
        known = set(WebSocketServerProtocol.CONFIG_ATTRS)
        ours = vars(Options).keys() | {"maxMessagePayloadSize"}
        self.assertEqual(known - ours, set())

    def test_no_compression(self) -> None:
        """An offer to compress is not taken up."""
        offer = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
        client = self.connect(self.app(), headers=dict(offer))
        self.assertNotIn("sec-websocket-extensions", client.response.headers)


# --- all of it once more, without the fast lane -------------------------------------------


class StockFramesTests(FramesTests):
    way = "stock"


class StockFaultsTests(FaultsTests):
    way = "stock"


class StockClosingTests(ClosingTests):
    way = "stock"


class StockBoundsTests(BoundsTests):
    way = "stock"


class StockEndpointTests(EndpointTests):
    way = "stock"
