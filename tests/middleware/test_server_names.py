"""Names that Host may have."""

from __future__ import annotations

from tests.memory import AppTestCase
from x121.testing.app import App

NAMES = "api.example.com, Example.org:8443, 192.0.2.1, 10.0.0.0/8, [2001:db8::1]:3000, fd00::/8"


class ServerNamesTests(AppTestCase):
    def status(self, app: App, host: str) -> int:
        return app.request("GET", "/health", {"Host": host}).status

    def test_any(self) -> None:
        """Without names any Host will do."""
        self.assertEqual(self.status(self.app(), "evil.test"), 200)

    def test_served(self) -> None:
        """A name is served in any case, with a dot at its end, and on any port if it has none."""
        app = self.app(SERVER_NAMES=NAMES)
        for host in (
            "api.example.com", "API.Example.Com:3000", "api.example.com.", "api.example.com.:80",
            "example.org:8443", "192.0.2.1", "192.0.2.1:80", "10.1.2.3:3000", "[::ffff:10.0.0.1]",
            "[2001:DB8::1]:3000", "[2001:db8:0::1]:3000", "[fd00::7]",
        ):  # fmt: skip
            self.assertEqual(self.status(app, host), 200, host)

    def test_refused(self) -> None:
        """Any other is 421, in the form of every error, and is logged."""
        app = self.app(SERVER_NAMES=NAMES)
        for host in (
            "evil.test", "www.api.example.com", "example.com", "api.example.com.evil.test",
            "example.org", "example.org:8444", "192.0.2.2", "11.0.0.1", "[2001:db8::1]",
            "[2001:db8::2]:3000", "localhost", "127.0.0.1", "10.0.0.1.evil.test",
        ):  # fmt: skip
            response = app.request("GET", "/health", {"Host": host})
            self.assertEqual((response.status, response.json["code"]), (421, "MISDIRECTED_REQUEST"))
            self.assertIn(host, response.json["error"])
            self.assertEqual(response.headers["vary"], "Origin")
            self.assertEqual(app.lines("x121.access")[-1]["status"], 421)

    def test_default_port(self) -> None:
        """A name with a port is served without one where that is the scheme's own."""
        app = self.app(SERVER_NAMES="a.test:80,b.test:443", TRUSTED_PROXIES="192.0.2.7")
        self.assertEqual(self.status(app, "a.test"), 200)
        self.assertEqual(self.status(app, "b.test"), 421)
        https = {"Host": "b.test", "X-Forwarded-Proto": "https"}
        self.assertEqual(app.request("GET", "/health", https).status, 200)

    def test_websocket(self) -> None:
        """So is a handshake, whose page would be of the server's own origin."""
        app = self.app(SERVER_NAMES="a.test")
        headers = {"Host": "evil.test", "Origin": "http://evil.test", "Upgrade": "websocket"}
        self.assertEqual(app.request("GET", "/ws", headers).status, 421)

    def test_no_host(self) -> None:
        """A request of HTTP/1.0 without a Host is none of a browser's, and is served."""
        connection = self.app(SERVER_NAMES="a.test").connect()
        connection.send(b"GET /health HTTP/1.0\r\n\r\n")
        self.assertEqual(connection.response().status, 200)
