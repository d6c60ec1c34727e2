"""Writes of pages of other sites are refused; the server's own and the allowed pages may write."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.memory import ORIGIN, AppTestCase
from x121.http.request import Request
from x121.testing.app import App
from x121.testing.connection import Response
from x121.web.responses import no_content
from x121.web.router import Router

OWN = "http://example.com"
EVIL = "https://evil.test"
WRITES = ("POST", "PUT", "PATCH", "DELETE")

_VISIBLE = st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f")


class Written:
    """An endpoint without a body, which counts its calls."""

    router = Router()

    def __init__(self) -> None:
        self.calls = 0

    @router.route("/", methods=["GET", *WRITES])
    def write(self, request: Request) -> bytes:
        self.calls += 1
        return no_content(request)


class CrossSiteTests(AppTestCase):
    def setUp(self) -> None:
        self.written = Written()
        self.server = self.app(self.written.router)

    def send(self, method: str = "POST", app: App | None = None, **headers: str) -> Response:
        """Return the answer; header names are written with ``_``, Host is ``example.com``."""
        lines = {name.replace("_", "-"): value for name, value in headers.items()}
        return (app or self.server).request(method, "/test", lines)

    def assert_refused(self, response: Response) -> None:
        self.assertEqual((response.status, response.json["code"]), (403, "FORBIDDEN"))
        self.assertEqual(self.written.calls, 0)

    def test_foreign_page(self) -> None:
        """A page elsewhere writes nothing, and can't read why; the answer varies by Origin."""
        for method in WRITES:
            response = self.send(method, Origin=EVIL, Sec_Fetch_Site="cross-site")
            self.assert_refused(response)
            self.assertIn(EVIL, response.json["error"])
            self.assertIn("CORS_ORIGINS", response.json["error"])
            self.assertEqual(response.headers["vary"], "Origin")
            self.assertNotIn("access-control-allow-origin", response.headers)

    def test_origin_alone(self) -> None:
        """A browser that sends no Sec-Fetch-Site is judged by Origin; null is nobody's."""
        for origin in (EVIL, "null", "", "*", "https://example.com", "http://example.com:81",
                       "http://example.com.evil.test", "http://sub.example.com"):  # fmt: skip
            self.assert_refused(self.send(Origin=origin))

    def test_site_alone(self) -> None:
        """One that sends no Origin is judged by Sec-Fetch-Site; a neighbour is a stranger, too."""
        for site in ("cross-site", "same-site", "", "anything"):
            self.assert_refused(self.send(Sec_Fetch_Site=site))

    def test_two_origins(self) -> None:
        """Two Origin fields are no origin, even if both are allowed."""
        connection = self.server.connect()
        line = f"Origin: {ORIGIN}\r\n"
        connection.send(f"POST /test HTTP/1.1\r\nHost: a\r\n{line}{line}\r\n".encode())
        self.assert_refused(connection.response())

    def test_allowed_page(self) -> None:
        """A page that CORS allows writes, whatever site it belongs to, and reads the answer."""
        for site in ("cross-site", "same-site"):
            response = self.send(Origin=ORIGIN, Sec_Fetch_Site=site)
            self.assertEqual(response.status, 204)
            self.assertEqual(response.headers["access-control-allow-origin"], ORIGIN)

    def test_own_page(self) -> None:
        """The server's own page writes: its origin is the request's scheme and Host."""
        self.assertEqual(self.send(Origin=OWN).status, 204)
        self.assertEqual(self.send(Origin=OWN, Host="Example.com").status, 204)
        self.assertEqual(self.send(Origin=OWN, Host="example.com:80").status, 204)
        self.assertEqual(self.send(Origin="http://[::1]:3000", Host="[::1]:3000").status, 204)

    def test_own_page_by_site(self) -> None:
        """Sec-Fetch-Site is enough, which no page can forge: a proxy may change the scheme."""
        for site in ("same-origin", "none"):
            self.assertEqual(self.send(Origin="https://a.test", Sec_Fetch_Site=site).status, 204)

    def test_own_page_behind_a_proxy(self) -> None:
        """The scheme is what a trusted proxy says, and nobody else."""
        behind = self.app(self.written.router, TRUSTED_PROXIES="192.0.2.0/24")

        def send(app: App, origin: str = "https://example.com", host: str = "example.com") -> int:
            headers = {"Origin": origin, "Host": host, "X-Forwarded-Proto": "https"}
            return app.request("POST", "/test", headers).status

        self.assertEqual(send(self.server), 403)
        self.assertEqual(send(behind), 204)
        self.assertEqual(send(behind, host="example.com:443"), 204)
        self.assertEqual(send(behind, origin=OWN), 403)

    def test_no_browser(self) -> None:
        """A client that sends neither header writes."""
        for method in WRITES:
            self.assertEqual(self.send(method).status, 204)

    def test_reading(self) -> None:
        """A page elsewhere may send what changes nothing."""
        for method in ("GET", "HEAD", "OPTIONS"):
            self.assertEqual(
                self.send(method, Origin=EVIL, Sec_Fetch_Site="cross-site").status, 204
            )

    def test_body_is_not_parsed(self) -> None:
        """A form is refused for its page, before its type is looked at."""
        form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": EVIL}
        response = self.server.request("POST", "/api/v1/projects", form, b"name=x")
        self.assert_refused(response)

    @given(
        st.text(
            st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f"),
            max_size=300,
        )
    )
    def test_any_origin(self, origin: str) -> None:
        """Whatever the Origin, only the two that may write do, and the message stays short."""
        written = Written()
        with App(written.router, make_channel=self.make_channel) as app:
            response = self.send(app=app, Origin=origin)
        self.assertEqual(response.status, 204 if origin in (OWN, ORIGIN) else 403)
        self.assertEqual(written.calls, 1 if response.status == 204 else 0)
        if response.status == 403:
            self.assertLess(len(response.json["error"]), 300)
