"""WebSockets in memory: what is there, what is to come, and how it ends."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from x121.application import AppState
from x121.core.types import DbId
from x121.errors import BadRequest, FieldError, Unauthorized
from x121.http.request import Request
from x121.messaging.handlers import Handlers, Message
from x121.messaging.router import WsRouter
from x121.testing import App, Closed, ErrorReply, HandshakeRejected, WebSocket, waiting
from x121.testing.frames import CLOSE, PING, PONG, TEXT
from x121.web.router import Router


class Feature:
    messages = Handlers()

    def __init__(self, state: AppState) -> None:
        self._ws_manager = state.ws_manager

    @messages.on("tell")
    async def tell(self, message: Message) -> Any:
        await deferToThread(int)
        self._ws_manager.broadcast("told", message.data)
        self._ws_manager.broadcast("told.too", message.data)
        return [message.data]

    @messages.on("refuse")
    async def refuse(self, message: Message) -> None:
        await deferToThread(int)
        raise BadRequest("No", details=[FieldError(path="data", message="a number")])

    @messages.on("close")
    def close(self, message: Message) -> None:
        message.connection.send("farewell")
        message.connection.close(4000, "enough")

    @messages.on("never")
    async def never(self, message: Message) -> None:
        await Deferred()


async def by_header(request: Request) -> DbId:
    """Return who says so, after having asked somebody."""
    await deferToThread(int)
    user = request.getHeader("X-User")
    if user is None:
        raise Unauthorized("Log in first")
    return DbId(int(user))


def serve(state: AppState) -> Router:
    websockets = WsRouter(state.config, state.ws_manager).nest(Feature(state).messages)
    asking = WsRouter(state.config, state.ws_manager, authenticate=by_header)
    return Router().nest("/feature", websockets.routes).nest("/asking", asking.routes)


class WebSocketTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = self.enterContext(App(serve))
        self.ws = self.server.websocket("/test/feature")

    def test_welcome(self) -> None:
        """A client is one of the manager's, and its welcome is taken."""
        self.assertEqual(self.ws.messages(), [])
        self.assertEqual(self.ws.response.status, 101)
        (line,) = self.server.lines("x121.ws")
        self.assertEqual(line["connection_id"], self.ws.id)

    def test_endpoint_without_welcome(self) -> None:
        """An endpoint that greets nobody is as well a WebSocket, and its messages are kept."""
        ws = self.enterContext(App(DIAGNOSTICS="true")).websocket("/ws/echo")
        ws.send(TEXT, b"[]")
        self.assertEqual(ws.messages(), [[]])

    def test_messages(self) -> None:
        """What is answered at once is there at once, and is taken once."""
        self.ws.send_message("ping", 7)
        self.assertEqual(self.ws.messages(), [{"type": "reply", "id": 7, "data": "pong"}])
        self.assertEqual(self.ws.messages(), [])

    def test_pings(self) -> None:
        """A client answers pings when it looks for messages, and otherwise times out."""
        for looks in (True, False):
            ws = self.server.websocket("/test/feature")
            self.server.clock.advance(31)
            if looks:
                self.assertEqual(ws.messages(), [])
            self.server.clock.advance(11)
            opcodes = [frame.opcode for frame in ws.frames()]
            self.assertEqual(opcodes, [] if looks else [PING, CLOSE])

    def test_close_of_the_server(self) -> None:
        """What the server closed with is told; messages from before are there."""
        self.assertIsNone(self.ws.close_code)
        self.ws.send_message("close")
        self.assertEqual(self.ws.close_code, 4000)
        self.assertEqual(self.ws.messages()[0], {"type": "farewell", "data": None})
        self.assertEqual(self.ws.close_code, 4000)
        self.assertFalse(self.ws.closed)
        self.ws.close(4000)
        self.assertTrue(self.ws.closed)

    def test_close_that_nobody_expected(self) -> None:
        """Who looks for messages is told of a close that wasn't asked for."""
        self.ws.send_message("close")
        with self.assertRaisesRegex(Closed, "the server has closed the WebSocket: 4000"):
            self.ws.messages()

    def test_goodbye(self) -> None:
        """A client says goodbye, and gets it back, or just leaves."""
        other = self.server.websocket("/test/feature")
        self.ws.close(3000)
        self.assertEqual(self.ws.close_code, 3000)
        self.assertTrue(self.ws.closed)
        other.disconnect()
        codes = [line["code"] for line in self.server.lines("x121.ws") if "code" in line]
        self.assertEqual(codes, [3000, 1006])

    def test_refused(self) -> None:
        """A handshake that is refused raises, with the answer."""
        with self.assertRaises(HandshakeRejected) as caught:
            self.server.websocket("/ws", {"Origin": "http://elsewhere.test"})
        self.assertEqual(caught.exception.response.json["code"], "FORBIDDEN")
        self.assertIn("the handshake got 403", str(caught.exception))

    def test_other_frames(self) -> None:
        """Frames of every kind can be sent, and taken."""
        self.ws.send(PING, b"there?")
        (pong,) = self.ws.frames()
        self.assertEqual((pong.opcode, pong.payload), (PONG, b"there?"))

    def test_authentication_that_waits(self) -> None:
        """A handshake that isn't answered at once says that it must be awaited."""
        with self.assertRaisesRegex(AssertionError, "there is no response yet"):
            self.server.websocket("/test/asking")


# --- on a reactor ---------------------------------------------------------------------------


@pytest.fixture
def ws() -> Any:
    """Return a client of the feature."""
    with App(serve) as app:
        yield app.websocket("/test/feature")


@pytest_twisted.ensureDeferred
async def test_ask(ws: WebSocket) -> None:
    """The reply is that to the message, and the events before it are kept, in their order."""
    assert await ws.send_request("tell", 1) == [1]
    assert await ws.next() == {"type": "told", "data": 1}
    assert await ws.next() == {"type": "told.too", "data": 1}


@pytest_twisted.ensureDeferred
async def test_several_at_once(ws: WebSocket) -> None:
    """Messages may be under way together, and each gets its own reply."""
    replies = [ws.send_request("tell", number) for number in range(3)]
    assert await replies[2] == [2]
    assert await replies[0] == [0]


@pytest_twisted.ensureDeferred
async def test_a_reply_is_no_event(ws: WebSocket) -> None:
    """Replies that nobody has taken are not given as events."""
    ws.send_message("ping", 1)
    ws.send_message("tell", 2)
    assert (await ws.next())["type"] == "told"
    assert ws.messages()[0] == {"type": "reply", "id": 1, "data": "pong"}


@pytest_twisted.ensureDeferred
async def test_next_of_a_type(ws: WebSocket) -> None:
    """An event of a type is waited for, and those of others are kept."""
    ws.send_message("tell", 1, "first")
    assert await ws.next("told.too") == {"type": "told.too", "data": "first"}
    assert await ws.next() == {"type": "told", "data": "first"}
    assert [message["type"] for message in ws.messages()] == ["reply"]


@pytest_twisted.ensureDeferred
async def test_error(ws: WebSocket) -> None:
    """An error is raised where the message was asked, with what it says."""
    with pytest.raises(ErrorReply, match="BAD_REQUEST: No") as caught:
        await ws.send_request("refuse")
    assert caught.value.code == "BAD_REQUEST"
    assert caught.value.details == [{"path": "data", "message": "a number"}]


@pytest_twisted.ensureDeferred
async def test_never(ws: WebSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply and an event that don't come fail the test with which."""
    monkeypatch.setattr(waiting, "PATIENCE_SECS", 0.02)
    with pytest.raises(AssertionError, match=r"timed out.*: no reply to 'never'"):
        await ws.send_request("never")
    with pytest.raises(AssertionError, match=r"timed out.*: no event 'told'"):
        await ws.next("told")


@pytest_twisted.ensureDeferred
async def test_closed(ws: WebSocket) -> None:
    """Who waits when the server closes is told at once, after what came before."""
    waiting_for_more = ws.next("more")
    ws.send_message("close")
    assert (await ws.next())["type"] == "farewell"
    with pytest.raises(Closed):
        await waiting_for_more


@pytest_twisted.ensureDeferred
async def test_open_websocket() -> None:
    """A handshake that asks somebody is awaited: accepted, or refused."""
    with App(serve) as app:
        ws = await app.open_websocket("/test/asking", {"X-User": "7"})
        assert [one.id for one in app.state.ws_manager.get_by_user(DbId(7))] == [ws.id]
        with pytest.raises(HandshakeRejected, match="401"):
            await app.open_websocket("/test/asking")
