"""Who may see the console: every way in, and every way that is none."""

from __future__ import annotations

import base64
import json
from http.cookies import SimpleCookie

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.memory import AppTestCase
from x121.builtin.console.access import COOKIE
from x121.builtin.console.attempts import MAX_GUESSES, MAX_GUESSES_IN_ALL, WINDOW_SECS
from x121.http.proxies import MAX_HOPS
from x121.testing import App, Response
from x121.testing.frames import HANDSHAKE

TOKEN = "correct-horse-battery-staple"
LOCAL = "127.0.0.1"
FAR = "192.0.2.7"
PATHS = ("/console", "/console/console.css", "/console/console.js")
PROXIES = ("127.0.0.1", "10.0.0.0/8", "::1")


def basic(password: str, user: str = "me") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class AccessTestCase(AppTestCase):
    def console(self, token: str = "", proxies: str = "") -> App:
        return self.app(DIAGNOSTICS="true", DIAGNOSTICS_TOKEN=token, TRUSTED_PROXIES=proxies)

    def ask(self, app: App, peer: str = LOCAL, path: str = "/console", **headers: str) -> Response:
        """Return the answer; header names are written with ``_``."""
        lines = {"Host": "localhost:3000"}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        return app.request("GET", path, lines, peer=peer)

    def shake(self, app: App, peer: str = LOCAL, **headers: str) -> int:
        """Return the status that a handshake of the page's WebSocket is answered with."""
        lines = {"Host": "localhost:3000", "Origin": "http://localhost:3000", **HANDSHAKE}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        if not lines["Origin"]:
            del lines["Origin"]
        connection = app.connect(peer)
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        connection.send(f"GET /ws/console HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
        return int(connection.received.split()[1])

    def assertRefused(self, response: Response, status: int, code: str) -> None:
        """Fail unless an answer is an error in the contract's form, and no page."""
        self.assertEqual((response.status, response.json["code"]), (status, code))
        self.assertEqual(set(response.json), {"error", "code"})
        self.assertEqual(response.headers["content-type"], "application/json")

    def assertForbidden(self, app: App, peer: str = LOCAL, **headers: str) -> None:
        """Fail unless pages and the WebSocket are both refused with 403."""
        for path in PATHS:
            self.assertRefused(self.ask(app, peer, path, **headers), 403, "FORBIDDEN")
        self.assertEqual(self.shake(app, peer, **headers), 403)

    def assertAllowed(self, app: App, peer: str = LOCAL, **headers: str) -> None:
        """Fail unless pages and the WebSocket are both served."""
        for path in PATHS:
            self.assertEqual(self.ask(app, peer, path, **headers).status, 200)
        self.assertEqual(self.shake(app, peer, **headers), 101)


class OffTests(AccessTestCase):
    def test_off(self) -> None:
        """Without DIAGNOSTICS there is no console, with a token or without."""
        for token in ("", TOKEN):
            app = self.app(DIAGNOSTICS_TOKEN=token)
            for path in PATHS:
                response = self.ask(app, path=path, Authorization=f"Bearer {TOKEN}")
                self.assertRefused(response, 404, "NOT_FOUND")
            self.assertEqual(self.shake(app), 404)


class WithoutTokenTests(AccessTestCase):
    """The console is for the machine itself."""

    def test_loopback(self) -> None:
        """Whoever asks this machine, from it, by a name that means nothing else, is served."""
        app = self.console()
        for peer in (LOCAL, "127.8.9.1", "::1", "::ffff:127.0.0.1"):
            self.assertAllowed(app, peer)
        for host in ("localhost", "LocalHost:81", "127.0.0.1:3000", "127.1.2.3", "[::1]:3000"):
            origin = f"http://{host.lower()}"
            self.assertAllowed(app, Host=host, Origin=origin)

    def test_no_cookie(self) -> None:
        """There is nothing to remember."""
        self.assertNotIn("set-cookie", self.ask(self.console()).headers)

    def test_elsewhere(self) -> None:
        """Nobody else is, whatever they say of themselves."""
        app = self.console()
        for peer in (FAR, "10.0.0.1", "::ffff:192.0.2.7", "fe80::1", "0.0.0.0", "128.0.0.1"):
            self.assertForbidden(app, peer)
        for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "Client-IP"):
            self.assertForbidden(app, FAR, **{name: LOCAL})
        self.assertForbidden(app, FAR, Authorization=f"Bearer {TOKEN}")
        self.assertForbidden(app, FAR, Authorization="Bearer ")
        self.assertForbidden(app, FAR, Cookie=f"{COOKIE.decode()}=")

    def test_empty_token(self) -> None:
        """The cookie that an empty token would give is worth nothing."""
        with_token = self.ask(self.console(TOKEN), Authorization=f"Bearer {TOKEN}")
        self.assertForbidden(self.console(), FAR, Cookie=with_token.headers["set-cookie"])

    def test_foreign_host(self) -> None:
        """A page whose name was made to mean this machine is not let in (DNS rebinding)."""
        app = self.console()
        for host in (
            "evil.test",
            "evil.test:3000",
            "localhost.evil.test",
            "127.0.0.1.evil.test",
            "localhost.",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0.0.0.0",
            "[::]",
            "[::ffff:192.0.2.7]",
            "192.0.2.7",
        ):
            self.assertForbidden(app, Host=host, Origin=f"http://{host}")

    def test_no_host(self) -> None:
        """Neither is a request without a Host, as HTTP/1.0 allows."""
        connection = self.console().connect(LOCAL)
        connection.send(b"GET /console HTTP/1.0\r\n\r\n")
        self.assertEqual(connection.response().status, 403)

    def test_through_unknown_proxy(self) -> None:
        """A request that tells of a proxy comes from anywhere, though the proxy is here."""
        app = self.console()
        for name, value in (
            ("X-Forwarded-For", LOCAL),
            ("x-forwarded-proto", "https"),
            ("X-Forwarded-Host", "localhost"),
            ("X-Real-IP", LOCAL),
            ("Forwarded", "for=127.0.0.1"),
            ("Via", "1.1 proxy"),
        ):
            self.assertForbidden(app, **{name: value})

    def test_through_trusted_proxy(self) -> None:
        """One that is trusted may say that its client is here, too; all of its chain must be."""
        app = self.console(proxies=",".join(PROXIES))
        self.assertAllowed(app)
        for value in (LOCAL, f"{LOCAL}:80", "::1", "127.0.0.1, ::1", "::ffff:127.0.0.1"):
            self.assertAllowed(app, X_Forwarded_For=value)
        self.assertAllowed(app, X_Forwarded_For=LOCAL, X_Real_IP=LOCAL, Via="1.1 proxy")
        for value in (
            FAR,
            f"{LOCAL}, {FAR}",
            f"{FAR}, {LOCAL}",
            f"10.1.2.3, {LOCAL}",
            "unknown",
            f"nonsense, {LOCAL}",
            ",",
            "",
            f"{LOCAL}, " * MAX_HOPS + LOCAL,
            f"{LOCAL}%, {FAR}" + f", {LOCAL}" * MAX_HOPS,
            "localhost",
        ):
            self.assertForbidden(app, X_Forwarded_For=value)

    def test_trusted_proxy_that_does_not_say(self) -> None:
        """One that says something else of its client, and not where it is, doesn't help."""
        app = self.console(proxies=",".join(PROXIES))
        for name, value in (
            ("X-Forwarded-Proto", "http"),
            ("X-Real-IP", LOCAL),
            ("Forwarded", "for=127.0.0.1"),
            ("Via", "1.1 proxy"),
        ):
            self.assertForbidden(app, **{name: value})
        self.assertForbidden(app, X_Forwarded_For=LOCAL, Forwarded=f"for={FAR}")
        self.assertForbidden(app, X_Forwarded_For=LOCAL, X_Real_IP=FAR)

    def test_trusted_proxy_elsewhere(self) -> None:
        """The word of a trusted proxy that is not on this machine means its own loopback."""
        app = self.console(proxies=",".join(PROXIES))
        self.assertForbidden(app, "10.0.0.9", X_Forwarded_For=LOCAL)
        self.assertForbidden(app, "10.0.0.9")


class OriginTests(AccessTestCase):
    """Whose pages may open the WebSocket."""

    def test_own(self) -> None:
        """The console's own page may, and a client that is no browser."""
        app = self.console()
        self.assertEqual(self.shake(app), 101)
        self.assertEqual(self.shake(app, Origin=""), 101)

    def test_foreign(self) -> None:
        """No other may, not even one that may open the other WebSockets, nor with the token."""
        for app, headers in (
            (self.console(), {}),
            (self.console(TOKEN), {"Authorization": f"Bearer {TOKEN}"}),
        ):
            for origin in (
                "http://localhost:5173",
                "http://localhost",
                "http://127.0.0.1:3000",
                "https://localhost:3000",
                "http://evil.test",
                "http://localhost:3000.evil.test",
                "null",
            ):
                self.assertEqual(self.shake(app, Origin=origin, **headers), 403)

    def test_tls(self) -> None:
        """Behind a trusted proxy that speaks TLS the page's origin is the proxy's."""
        app = self.console(TOKEN, proxies=LOCAL)
        public = {
            "Host": "console.example.com",
            "X_Forwarded_Proto": "https",
            "X_Forwarded_For": FAR,
            "Authorization": f"Bearer {TOKEN}",
        }
        self.assertEqual(self.shake(app, Origin="https://console.example.com", **public), 101)
        self.assertEqual(self.shake(app, Origin="http://console.example.com", **public), 403)
        self.assertEqual(self.shake(app, Origin="https://localhost:3000", **public), 403)


class WithTokenTests(AccessTestCase):
    """The console is for whoever has the token."""

    def test_token(self) -> None:
        """Who presents it is served, from anywhere and under any name."""
        app = self.console(TOKEN)
        for value in (
            f"Bearer {TOKEN}",
            f"bearer  {TOKEN} ",
            basic(TOKEN),
            basic(TOKEN, user=""),
            basic(TOKEN).replace("Basic", "bAsIc"),
        ):
            self.assertAllowed(app, FAR, Authorization=value)
            self.assertAllowed(
                app,
                FAR,
                Authorization=value,
                Host="example.com",
                Origin="http://example.com",
                X_Forwarded_For="192.0.2.9",
            )

    def test_colons(self) -> None:
        """A token may have a colon in it, which a user's name may not (RFC 7617 section 2)."""
        app = self.console("a:b:" + TOKEN)
        self.assertAllowed(app, FAR, Authorization=basic("a:b:" + TOKEN))
        self.assertEqual(self.ask(app, FAR, Authorization=basic(TOKEN)).status, 401)

    def test_without(self) -> None:
        """Who doesn't is asked for it, on this machine, too."""
        app = self.console(TOKEN, proxies=LOCAL)
        for peer in (LOCAL, "::1", FAR):
            for path in PATHS:
                response = self.ask(app, peer, path)
                self.assertRefused(response, 401, "UNAUTHORIZED")
                self.assertRegex(response.headers["www-authenticate"], '^Basic realm="[^"]+"')
                self.assertNotIn("set-cookie", response.headers)
            self.assertEqual(self.shake(app, peer), 401)

    def test_wrong(self) -> None:
        """What isn't exactly the token is none, however it is presented."""
        for value in (
            "Bearer",
            "Bearer ",
            f"Bearer {TOKEN[:-1]}",
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN.upper()}",
            f"Bearer {TOKEN}, Bearer {TOKEN}",
            f"Token {TOKEN}",
            TOKEN,
            "Basic",
            "Basic ?",
            "Basic Zm9v",  # no colon
            basic(""),
            basic("", user=TOKEN),
            basic(TOKEN + "\0"),
            basic("\udcff".encode("utf-8", "replace").decode()),
            "Bearer " + "x" * 20_000,
            basic("x" * 15_000),
            "Bearer \xff\xfe",
        ):
            app = self.console(TOKEN)
            response = self.ask(app, FAR, Authorization=value)
            self.assertEqual(response.status, 401, value[:60])
            self.assertNotIn(TOKEN, response.body.decode())
            self.assertEqual(self.shake(app, FAR, Authorization=value), 401, value[:60])

    @settings(deadline=None)  # the machine may be busy
    @given(st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60))
    def test_nobody_guesses(self, text: str) -> None:
        """No header that somebody makes up is let in, or is more than refused."""
        app = App(DIAGNOSTICS="true", DIAGNOSTICS_TOKEN=TOKEN)
        try:
            for headers in ({"Authorization": text}, {"Cookie": text}):
                self.assertIn(self.ask(app, FAR, **headers).status, (400, 401))
        finally:
            app.close()

    def test_no_secret_is_logged(self) -> None:
        """Neither the token nor the cookie reaches the log, right or wrong."""
        app = self.console(TOKEN)
        cookie = self.ask(app, Authorization=basic(TOKEN)).headers["set-cookie"]
        for headers in ({"Cookie": cookie}, {"Authorization": f"Bearer {TOKEN}x"}):
            self.shake(app, **headers)
        value = SimpleCookie(cookie)[COOKIE.decode()].value
        for secret in (TOKEN, value, base64.b64encode(TOKEN.encode()).decode()[:16]):
            self.assertNotIn(secret, json.dumps(app.log))


class AttemptsTests(AccessTestCase):
    """How often somebody may guess."""

    def setUp(self) -> None:
        self.server = self.console(TOKEN)

    def guess(self, number: int, peer: str = FAR) -> Response:
        """Return the answer to a wrong token, another one for each number."""
        return self.ask(self.server, peer, Authorization=f"Bearer {TOKEN}{number}")

    def log_in(self, peer: str = FAR) -> int:
        return self.ask(self.server, peer, Authorization=f"Bearer {TOKEN}").status

    def test_one_address(self) -> None:
        """After some wrong tokens an address waits, with the right one, too; others don't."""
        for number in range(MAX_GUESSES):
            self.assertEqual(self.guess(number).status, 401)
        response = self.guess(MAX_GUESSES)
        self.assertRefused(response, 429, "TOO_MANY_REQUESTS")
        self.assertEqual(response.headers["retry-after"], "60")
        self.assertEqual(self.log_in(), 429)
        self.assertEqual(self.shake(self.server, FAR, Authorization=f"Bearer {TOKEN}"), 429)
        self.assertEqual(self.log_in(LOCAL), 200)
        self.server.clock.advance(WINDOW_SECS)
        self.assertEqual(self.log_in(), 200)

    def test_cookies(self) -> None:
        """A cookie is a guess, too."""
        for number in range(MAX_GUESSES):
            cookie = f"{COOKIE.decode()}={number:064x}"
            self.assertEqual(self.ask(self.server, FAR, Cookie=cookie).status, 401)
        self.assertEqual(self.log_in(), 429)

    def test_old_cookie(self) -> None:
        """A browser that sends an old cookie all the time makes one guess, and is logged once."""
        for _ in range(3 * MAX_GUESSES):
            cookie = f"{COOKIE.decode()}=old"
            self.assertEqual(self.ask(self.server, FAR, Cookie=cookie).status, 401)
        self.assertEqual(self.log_in(), 200)
        self.assertEqual(len(self.server.lines("x121.builtin.console.access")), 1)

    def test_nothing_presented(self) -> None:
        """Who presents nothing is asked for the token, as often as he likes, and not logged."""
        for _ in range(3 * MAX_GUESSES):
            self.assertEqual(self.ask(self.server, FAR).status, 401)
        self.assertEqual(self.server.lines("x121.builtin.console.access"), [])

    def test_in_all(self) -> None:
        """Many addresses that guess bar everybody, but for those who have logged in before."""
        self.assertEqual(self.log_in(LOCAL), 200)
        for number in range(MAX_GUESSES_IN_ALL):
            self.assertEqual(self.guess(number, f"198.51.100.{number}").status, 401)
        self.assertEqual(self.guess(0, "198.51.100.200").status, 429)
        self.assertEqual(self.log_in(), 429)
        self.assertEqual(self.log_in(LOCAL), 200)
        self.server.clock.advance(WINDOW_SECS)
        self.assertEqual(self.log_in(), 200)

    def test_networks(self) -> None:
        """A network of IPv6 is one address, and an IPv4 address over IPv6 is itself."""
        for number in range(MAX_GUESSES):
            self.assertEqual(self.guess(number, f"2001:db8::{number}").status, 401)
        self.assertEqual(self.log_in("2001:db8::ffff"), 429)
        self.assertEqual(self.log_in("2001:db8:0:1::1"), 200)
        for number in range(MAX_GUESSES):
            self.assertEqual(self.guess(number, f"::ffff:{FAR}").status, 401)
        self.assertEqual(self.log_in(), 429)
        self.assertEqual(self.log_in("::ffff:192.0.2.9"), 200)

    def test_behind_a_proxy(self) -> None:
        """The address is the client's, where a trusted proxy tells it."""
        self.server = self.console(TOKEN, proxies=LOCAL)
        for number in range(MAX_GUESSES + 1):
            wrong = {"Authorization": f"Bearer {TOKEN}{number}", "X_Forwarded_For": FAR}
            response = self.ask(self.server, **wrong)
        self.assertEqual(response.status, 429)
        self.assertEqual(self.log_in(LOCAL), 200)

    def test_logged(self) -> None:
        """A failure is logged with its address, and no guess is."""
        self.guess(7)
        (line,) = self.server.lines("x121.builtin.console.access")
        self.assertEqual((line["level"], line["remote"]), ("warn", FAR))
        self.assertNotIn(TOKEN, json.dumps(self.server.log))


class CookieTests(AccessTestCase):
    """What a browser keeps, as it sends no password with a WebSocket."""

    def cookie(self, app: App, **headers: str) -> str:
        answer = self.ask(app, Authorization=basic(TOKEN), **headers)
        return answer.headers["set-cookie"]

    def test_lets_in(self) -> None:
        """The page gives a cookie to who has the token, and with it everything is served."""
        app = self.console(TOKEN)
        pair = self.cookie(app).partition(";")[0]
        self.assertAllowed(app, FAR, Cookie=pair)
        self.assertAllowed(app, FAR, Cookie=f"a=b; {pair}; c=d", Authorization="Bearer wrong")

    def test_attributes(self) -> None:
        """It is for no script and no other site, ends with the browser, and isn't the token."""
        cookie = self.cookie(self.console(TOKEN))
        morsel = SimpleCookie(cookie)[COOKIE.decode()]
        self.assertEqual((morsel["path"], morsel["samesite"].lower()), ("/", "strict"))
        self.assertTrue(morsel["httponly"])
        self.assertFalse(morsel["secure"])
        self.assertEqual((morsel["expires"], morsel["max-age"]), ("", ""))
        self.assertRegex(morsel.value, "^[0-9a-f]{64}$")
        self.assertNotIn(TOKEN, cookie)

    def test_secure(self) -> None:
        """Where the client speaks TLS it is never sent without."""
        app = self.console(TOKEN, proxies=LOCAL)
        cookie = self.cookie(app, X_Forwarded_Proto="https", X_Forwarded_For=FAR)
        self.assertTrue(SimpleCookie(cookie)[COOKIE.decode()]["secure"])

    def test_given_once(self) -> None:
        """Who has it is not given it again."""
        app = self.console(TOKEN)
        again = self.ask(app, Cookie=self.cookie(app).partition(";")[0])
        self.assertNotIn("set-cookie", again.headers)

    def test_forged(self) -> None:
        """What isn't exactly the cookie is none; that of another token neither, nor the token."""
        app = self.console(TOKEN)
        name, _, value = self.cookie(app).partition(";")[0].partition("=")
        other = self.ask(self.console(TOKEN + "2"), Authorization=f"Bearer {TOKEN}2")
        for forged in (
            f"{name}=",
            f"{name}={TOKEN}",
            f"{name}={value[:-1]}",
            f"{name}={value}0",
            f"{name}={value.upper()}",
            f"{name}={'0' * 64}",
            f"{name}={'0' * 20_000}",
            f"{name}2={value}",
            f"{name}=\xff\xfe",
            other.headers["set-cookie"].partition(";")[0],
        ):
            self.assertEqual(self.ask(app, FAR, Cookie=forged).status, 401, forged[:90])
            self.assertEqual(self.shake(app, FAR, Cookie=forged), 401, forged[:90])
