"""The handshake: judged, answered and logged like any request, then a WebSocket."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers

from tests.memory import ORIGIN
from tests.ws.client import WebSocket, WebSocketTestCase
from x121.application import AppState
from x121.builtin.echo import Echo
from x121.core.types import DbId
from x121.errors import Forbidden, Unauthorized
from x121.http.request import Request
from x121.messaging.router import WsRouter
from x121.testing.app import App
from x121.testing.connection import Response
from x121.testing.frames import KEY, TEXT, client_frame, handshake
from x121.ws.protocol import _OF_THE_HANDSHAKE, WsProtocol


class HandshakeTests(WebSocketTestCase):
    def refused(
        self, app: App, headers: dict[str, str | None] | None = None, **how: Any
    ) -> Response:
        """Return the answer to a handshake that isn't accepted."""
        connection = app.connect()
        connection.send(handshake(headers=headers, **how))
        return connection.response()

    def test_accepted(self) -> None:
        """101 carries the accept key of RFC 6455 section 4.2.2 and the headers of every answer."""
        client = self.connect(self.app(), headers={"Origin": ORIGIN})
        headers = client.response.headers
        digest = hashlib.sha1(KEY.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        self.assertEqual(headers["sec-websocket-accept"], base64.b64encode(digest).decode())
        self.assertEqual(headers["upgrade"].lower(), "websocket")
        self.assertEqual(headers["connection"].lower(), "upgrade")
        self.assertEqual(headers["access-control-allow-origin"], ORIGIN)
        self.assertEqual(headers["vary"], "Origin")
        for name in ("x-request-id", "date"):
            self.assertIn(name, headers)
        for name in ("server", "sec-websocket-extensions", "sec-websocket-protocol"):
            self.assertNotIn(name, headers)

    def test_as_autobahn(self) -> None:
        """The response is, byte by byte, that of Autobahn, which judges a handshake itself."""
        for headers in (
            {"Origin": ORIGIN},
            {"Sec-WebSocket-Protocol": "chat, superchat"},
            {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"},
            {"Upgrade": "h2c, WebSocket", "Connection": "keep-alive, UPGRADE"},
            {"Cookie": "name=value", "Host": "b.test:3000", "Origin": "http://b.test:3000"},
        ):
            responses = []
            for way in ("fast", "stock"):
                connection = self.app(X121_WEBSOCKET=way, DIAGNOSTICS="true").connect()
                connection.send(handshake("/ws/echo", headers) + client_frame(TEXT, b"early"))
                responses.append(re.sub(rb"X-Request-Id: [0-9a-f-]{36}", b"", connection.received))
            self.assertTrue(responses[0].startswith(b"HTTP/1.1 101 "))
            self.assertEqual(*responses)

    def test_logged(self) -> None:
        """The handshake has an access log line, and a line that ties it to its connection."""
        app = self.app()
        client = self.connect(app, headers={"Cookie": "secret", "Authorization": "secret"})
        (access,) = app.lines("x121.access")
        self.assertEqual((access["status"], access["path"], access["method"]), (101, "/ws", "GET"))
        self.assertEqual(access["request_id"], client.response.headers["x-request-id"])
        (connected,) = app.lines("x121.ws")
        self.assertEqual(connected["request_id"], access["request_id"])
        self.assertEqual(connected["connection_id"], client.id)
        self.assertNotIn("secret", repr(app.log))

    def test_request_is_over(self) -> None:
        """The request's timeout is disarmed: the connection outlives it, and the idle time."""
        app = self.app(REQUEST_TIMEOUT_SECS="3", KEEPALIVE_TIMEOUT_SECS="5")
        client = self.connect(app)
        app.clock.pump([1] * 9)
        self.assertFalse(client.connection.closed)
        client.send_message("ping", 1)
        self.assertIn(b'"pong"', client.frames()[-1].payload)

    def test_site_forgets_it(self) -> None:
        """The site doesn't wait for it when requests are drained."""
        app = self.app()
        self.connect(app)
        self.assertEqual(app.site.connections, 0)
        self.assertTrue(app.site.drain().called)

    def test_nothing_is_left(self) -> None:
        """When all have left there is no timer."""
        app = self.app()
        client = self.connect(app)
        self.assertNotEqual(app.clock.getDelayedCalls(), [])
        client.close()
        app.clock.advance(0)
        self.assertEqual(app.clock.getDelayedCalls(), [])
        self.assertEqual(app.state.ws_manager.connection_count(), 0)

    def test_plain_get(self) -> None:
        """A plain GET is 426 in the form of every error, says what to speak, and is logged."""
        app = self.app()
        response = app.request("GET", "/ws")
        self.assertEqual(response.status, 426)
        self.assertEqual(response.json["code"], "UPGRADE_REQUIRED")
        self.assertEqual(response.headers["upgrade"], "websocket")
        self.assertIn("upgrade", response.headers["connection"].lower())
        self.assertEqual(app.lines("x121.access")[0]["status"], 426)

    def test_not_a_handshake(self) -> None:
        """Without both upgrade headers, and in HTTP/1.0, it is no handshake: 426."""
        for name, value in (
            ("Upgrade", None),
            ("Upgrade", "h2c"),
            ("Connection", None),
            ("Connection", "keep-alive"),
        ):
            with self.subTest(name, value=value):
                self.assertEqual(self.refused(self.app(), {name: value}).status, 426)
        connection = self.app().connect()
        connection.send(handshake().replace(b"HTTP/1.1", b"HTTP/1.0"))
        response = connection.response()
        self.assertEqual(response.status, 426)
        self.assertEqual(response.headers["connection"], "Upgrade, close")

    def test_spelling(self) -> None:
        """The upgrade headers are lists, in any case."""
        headers = {"Upgrade": "h2c, WebSocket", "Connection": "keep-alive, UPGRADE"}
        self.connect(self.app(), headers=dict(headers))

    def test_old_version(self) -> None:
        """Another version is 426, which names the one that is spoken, and is logged."""
        for version in ("8", "0", "14", "13, 8", None):
            with self.subTest(version):
                app = self.app()
                response = self.refused(app, {"Sec-WebSocket-Version": version})
                self.assertEqual(response.status, 426)
                self.assertEqual(response.headers["sec-websocket-version"], "13")
                self.assertEqual(app.lines("x121.access")[0]["status"], 426)

    def test_bad_key(self) -> None:
        """A key that isn't 16 bytes in base64 is 400."""
        for key in (None, "", "x", KEY[:-4], KEY[:-1] + "?", KEY + "AAAA", KEY + ", " + KEY):
            with self.subTest(key):
                response = self.refused(self.app(), {"Sec-WebSocket-Key": key})
                self.assertEqual((response.status, response.json["code"]), (400, "BAD_REQUEST"))

    def test_body(self) -> None:
        """A handshake with a body, which could be taken for frames, is 400."""
        for headers in ({"Content-Length": "2"}, {"Transfer-Encoding": "chunked"}):
            connection = self.app().connect()
            body = b"0\r\n\r\n" if "Transfer-Encoding" in headers else b"ok"
            connection.send(handshake(headers=dict(headers)) + body)
            self.assertEqual(connection.response().status, 400)
        self.connect(self.app(), headers={"Content-Length": "0"})

    def test_wrong_origin(self) -> None:
        """A page elsewhere is 403, without CORS headers for it, and is logged."""
        for origin in ("http://evil.test", "null", ORIGIN + ".evil.test", ORIGIN.upper(), ""):
            with self.subTest(origin):
                app = self.app()
                response = self.refused(app, {"Origin": origin})
                self.assertEqual((response.status, response.json["code"]), (403, "FORBIDDEN"))
                self.assertNotIn("access-control-allow-origin", response.headers)
                self.assertEqual(app.lines("x121.access")[0]["status"], 403)

    def test_odd_origin(self) -> None:
        """An Origin of any bytes and any length is shown, as far as it fits."""
        for origin in ("\xff\xfe", "http://" + "x" * 5000):
            response = self.refused(self.app(), {"Origin": origin})
            self.assertEqual(response.status, 403)
            self.assertIn(repr(origin[:100])[:-1], response.json["error"])
            self.assertLess(len(response.json["error"]), 200)

    def test_two_origins(self) -> None:
        """Two Origin fields are 403, even if one of them is allowed."""
        connection = self.app().connect()
        line = f"Origin: {ORIGIN}\r\n".encode()
        connection.send(handshake().replace(b"\r\n\r\n", b"\r\n" + line + line + b"\r\n"))
        self.assertEqual(connection.response().status, 403)

    def test_own_origin(self) -> None:
        """A page of the server's own origin may connect, whatever is configured."""
        app = self.app(WS_ALLOWED_ORIGINS="https://a.test")
        self.connect(app, headers={"Host": "b.test:3000", "Origin": "http://b.test:3000"})
        for origin in ("https://b.test:3000", "http://b.test", "http://b.test:3001"):
            response = self.refused(app, {"Host": "b.test:3000", "Origin": origin})
            self.assertEqual(response.status, 403)

    def test_origins_are_configured(self) -> None:
        """``WS_ALLOWED_ORIGINS`` says which pages may connect, else ``CORS_ORIGINS`` does."""
        app = self.app(WS_ALLOWED_ORIGINS="https://a.test,https://b.test")
        self.connect(app, headers={"Origin": "https://b.test"})
        self.assertEqual(self.refused(app, {"Origin": ORIGIN}).status, 403)
        self.connect(self.app(CORS_ORIGINS="https://c.test"), headers={"Origin": "https://c.test"})

    def test_other_methods(self) -> None:
        """Other methods are 405, HEAD is what GET is."""
        self.assertEqual(self.app().request("POST", "/ws").status, 405)
        self.assertEqual(self.app().request("HEAD", "/ws").status, 426)
        connection = self.app().connect()
        connection.send(handshake().replace(b"GET", b"HEAD"))
        self.assertEqual(connection.response("HEAD").status, 426)

    def test_echo_is_a_diagnostic(self) -> None:
        """``/ws/echo`` is there with ``DIAGNOSTICS`` alone."""
        self.assertEqual(self.app().request("GET", "/ws/echo").status, 404)
        self.connect(self.app(DIAGNOSTICS="true"), "/ws/echo")

    def test_after_requests(self) -> None:
        """A handshake may follow requests on the same connection, even before their answers."""
        connection = self.app().connect()
        connection.send(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n" + handshake())
        self.assertEqual(connection.response().status, 200)
        self.assertEqual(connection.response().status, 101)

    def test_early_frames(self) -> None:
        """Frames that come with the handshake, or while it is judged, are not lost."""
        app = self.app()
        connection = app.connect()
        ping = client_frame(TEXT, b'{"type":"ping"}')
        connection.send(handshake() + ping + ping[:4])
        connection.send(ping[4:])
        self.assertEqual(connection.received.count(b'"pong"'), 2)

    def test_nothing_is_kept(self) -> None:
        """Of the handshake nothing is kept."""
        client = self.connect(self.app(), headers={"Origin": ORIGIN, "Cookie": "secret"})
        kept = vars(client.protocol)
        self.assertEqual(kept.keys() & set(_OF_THE_HANDSHAKE), set())
        for value in (KEY, ORIGIN, "secret"):
            self.assertNotIn(value, repr(kept))

    def test_small_messages(self) -> None:
        """Small messages don't wait for one another in the kernel."""
        connection = self.app().connect()
        told: list[bool] = []
        connection.transport.setTcpNoDelay = told.append  # type: ignore[assignment,method-assign]
        connection.send(handshake())
        self.assertEqual(told[-1:], [True])

    def test_take_over_fails(self) -> None:
        """A connection that nobody takes over is dropped, and why is logged."""

        def fail(_: Headers) -> WsProtocol:
            raise ZeroDivisionError

        klein = Klein()
        klein.route("/")(lambda request: request.upgrade(fail))
        app = self.app(klein)
        connection = app.connect()
        connection.send(handshake("/test"))
        self.assertTrue(connection.transport.aborted)
        (line,) = app.lines("x121.errors")
        self.assertEqual(line["level"], "error")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_draining(self) -> None:
        """While the server stops a handshake is 503, and a plain GET still 426."""
        app = self.app()
        app.state.ws_manager.draining = True
        response = self.refused(app)
        self.assertEqual((response.status, response.json["code"]), (503, "SERVICE_UNAVAILABLE"))
        self.assertEqual(app.request("GET", "/ws").status, 426)


class AuthenticationTests(WebSocketTestCase):
    def authenticated_by(self, authenticate: Any) -> App:
        """Return a server whose ``/test`` asks ``authenticate`` whose a handshake is."""

        def router(state: AppState) -> Klein:
            manager = state.ws_manager
            return WsRouter(state.config, manager, authenticate=authenticate).routes

        return self.app(router)

    def test_user(self) -> None:
        """The connection belongs to the user that the callable says, at once or later."""

        def by_header(request: Request) -> DbId:
            return DbId(int(request.getHeader("X-User") or 0))

        async def later(request: Request) -> DbId:
            return by_header(request)

        for authenticate in (by_header, later):
            app = self.authenticated_by(authenticate)
            client = self.connect(app, "/test", {"X-User": "7"})
            (connection,) = app.state.ws_manager.get_by_user(DbId(7))
            self.assertEqual(connection.id, client.id)
            request_id = client.response.headers["x-request-id"]
            self.assertEqual(app.lines("x121.ws")[0]["request_id"], request_id)
            client.connection.disconnect()
            lines = [(line["message"][:16], line["user_id"]) for line in app.lines("x121.ws")]
            self.assertEqual(lines, [("WebSocket connec", 7), ("WebSocket closed", 7)])

    def test_refused(self) -> None:
        """What it raises is the answer, as HTTP: 401 with a challenge, 403."""

        def nobody(request: Request) -> None:
            raise Unauthorized("Log in first")

        async def never(request: Request) -> None:
            raise Forbidden("Not you")

        connection = self.authenticated_by(nobody).connect()
        connection.send(handshake("/test"))
        response = connection.response()
        self.assertEqual((response.status, response.json["code"]), (401, "UNAUTHORIZED"))
        self.assertEqual(response.headers["www-authenticate"], "Bearer")
        connection = self.authenticated_by(never).connect()
        connection.send(handshake("/test"))
        self.assertEqual(connection.response().status, 403)

    def test_of_one_endpoint(self) -> None:
        """An endpoint may have its own way to tell whose a handshake is, and whose pages."""

        def router(state: AppState) -> Klein:
            return (
                WsRouter(state.config, state.ws_manager, authenticate=lambda _: DbId(1))
                .mount("/others", Echo())
                .mount(
                    "/own",
                    Echo(),
                    authenticate=lambda _: DbId(2),
                    origins=[b"https://own.test"],
                )
                .routes
            )

        app = self.app(router)
        for path, user_id, origin, foreign in (
            ("/test/others", 1, ORIGIN, "https://own.test"),
            ("/test/own", 2, "https://own.test", ORIGIN),
        ):
            client = WebSocket(app, path, {"Origin": origin})
            self.assertEqual(client.protocol.connection.user_id, user_id)
            connection = app.connect()
            connection.send(handshake(path, {"Origin": foreign}))
            self.assertEqual(connection.response().status, 403)

    def test_cookies(self) -> None:
        """Cookies and headers that it sets are on the answer."""

        def renew(request: Request) -> None:
            request.addCookie(b"session", b"new", httpOnly=True)
            request.setHeader(b"X-Seen", b"yes")

        client = self.connect(self.authenticated_by(renew), "/test")
        self.assertEqual(client.response.headers["set-cookie"], "session=new; HttpOnly")
        self.assertEqual(client.response.headers["x-seen"], "yes")

    def test_not_asked(self) -> None:
        """It isn't asked about what is no handshake, or comes from a page elsewhere."""
        asked: list[Request] = []
        app = self.authenticated_by(asked.append)
        app.request("GET", "/test")
        app.connect().send(handshake("/test", {"Origin": "http://evil.test"}))
        self.assertEqual(asked, [])

    def test_slow(self) -> None:
        """It has as long as a request, and is cancelled when the client leaves."""
        waiting: list[Deferred[DbId]] = []

        def slow(_: Request) -> Deferred[DbId]:
            waiting.append(Deferred())
            return waiting[-1]

        app = self.authenticated_by(slow)
        connection = app.connect()
        ping = client_frame(TEXT, b'{"type":"ping"}')
        connection.send(handshake("/test") + ping)
        for piece in (ping[:4], ping[4:]):
            connection.send(piece)
        self.assertEqual(connection.received, b"")
        waiting[0].callback(DbId(1))
        self.assertEqual(connection.response().status, 101)
        self.assertEqual(connection.received.count(b'"pong"'), 2)

        connection = app.connect()
        connection.send(handshake("/test"))
        app.clock.advance(31)
        self.assertEqual(connection.response().status, 408)

        connection = app.connect()
        connection.send(handshake("/test"))
        connection.disconnect()
        self.assertTrue(waiting[2].called)
        self.assertEqual(app.lines("x121.errors"), [])

    def test_draining_meanwhile(self) -> None:
        """Who is let in after the server began to stop gets 503."""
        waiting: Deferred[DbId] = Deferred()
        app = self.authenticated_by(lambda _: waiting)
        connection = app.connect()
        connection.send(handshake("/test"))
        app.state.ws_manager.draining = True
        waiting.callback(DbId(1))
        self.assertEqual(connection.response().status, 503)

    def test_client_is_one(self) -> None:
        """A client without a user is nobody's."""
        app = self.authenticated_by(lambda _: None)
        client = WebSocket(app, "/test")
        self.assertIsNone(client.protocol.connection.user_id)


# --- all of it once more, judged by Autobahn, too -----------------------------------------


class StockHandshakeTests(HandshakeTests):
    way = "stock"


class StockAuthenticationTests(AuthenticationTests):
    way = "stock"
