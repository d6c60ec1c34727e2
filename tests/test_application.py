"""An application: its features, built once, and everything that they get and give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.memory import ORIGIN
from x121.application import (
    Application,
    AppState,
    Feature,
    MissingProviderError,
    command,
    commands_of,
)
from x121.config import ConfigError, parsers, setting
from x121.core.types import DbId
from x121.errors import Forbidden, Unauthorized
from x121.http.request import Request
from x121.messaging.handlers import Handlers, Message
from x121.middleware.base import Middleware
from x121.runtime.routes import all_routes, api_routes, ws_routes
from x121.testing import App
from x121.web.router import Router


class Counter(Feature):
    """Counts what it is asked over HTTP and over WebSockets, and how often it is built."""

    router = Router()
    messages = Handlers()
    built = 0

    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        type(self).built += 1
        self._count = 0

    @router.get("/")
    def count(self) -> int:
        """Count a request."""
        self._count += 1
        return self._count

    @messages.on("count")
    def count_message(self, message: Message) -> int:
        """Count a message."""
        return self.count()


class TestCase(SynchronousTestCase):
    def serve(self, application: Application, **environ: Any) -> App:
        """Return the application in memory."""
        return self.enterContext(App(application, **environ))


class NestTests(TestCase):
    def test_built_once(self) -> None:
        """HTTP and WebSockets reach the same instance of a feature."""
        before = Counter.built
        app = self.serve(Application("test").nest("/counter", Counter))
        self.assertEqual(Counter.built, before + 1)
        self.assertEqual(app.request("GET", "/api/v1/counter").json, 1)
        client = app.websocket()
        client.send_message("count", 1)
        self.assertEqual(client.messages()[0]["data"], 2)
        self.assertEqual(app.request("GET", "/api/v1/counter").json, 3)

    def test_routes_of_the_features(self) -> None:
        """``api_routes`` and ``ws_routes`` are what the application's features serve."""
        app = self.serve(Application("test").nest("/counter", Counter))
        rules = {rule.rule for rule in api_routes(app.state).url_map.iter_rules()}
        self.assertEqual(rules, {"/api/v1/counter"})
        self.assertIn("count", ws_routes(app.state).handlers)

    def test_state_is_built_once(self) -> None:
        """To build the features of one state again is an error."""
        application = Application("test").nest("/counter", Counter)
        app = self.serve(application)
        self.assertRaises(RuntimeError, all_routes, application, app.state)

    def test_two_servers(self) -> None:
        """Two servers of one application share nothing."""
        application = Application("test").nest("/counter", Counter)
        for _ in range(2):
            self.assertEqual(self.serve(application).request("GET", "/api/v1/counter").json, 1)

    def test_shared_prefix(self) -> None:
        """Several features may have one prefix."""

        class Other(Feature):
            router = Router()

            @router.get("/other")
            def count(self) -> str:
                return "other"

        app = self.serve(Application("test").nest("/a", Counter).nest("/a", Other))
        paths = ("/api/v1/a", "/api/v1/a/other")
        self.assertEqual([app.request("GET", path).json for path in paths], [1, "other"])

    def test_wrong(self) -> None:
        """What can't be nested is refused where it is written, with what would be right."""
        app = self.serve(Application("test"))
        wrong: list[tuple[Any, str]] = [
            (Counter(app.state), "expected the class Counter, not an instance"),
            (str, "expected a subclass of x121.Feature, not str"),
            (Counter(app.state).router, "expected a subclass of x121.Feature, not <"),
        ]
        for feature, message in wrong:
            error = self.assertRaises(TypeError, Application("test").nest, "/a", feature)
            self.assertIn(message, str(error))
        error = self.assertRaises(ValueError, Application("test").nest, "/a/", Counter)
        self.assertIn("'/api/v1/a/'", str(error))
        self.assertRaises(ValueError, Application, "A product")


# --- settings -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class MailSettings:
    host: str = setting("MAIL_HOST", "localhost", parsers.host, "SMTP server")
    port: int = setting("MAIL_PORT", "25", parsers.integer(1, 65535), "its port")


class Mail(Feature):
    settings = MailSettings


class SettingsTests(TestCase):
    def test_typed(self) -> None:
        """A feature's settings are read with the framework's, and typed."""
        app = self.serve(Application("test").nest("/mail", Mail), MAIL_PORT="26")
        self.assertEqual(app.state.settings(MailSettings), MailSettings(host="localhost", port=26))

    def test_of_the_application(self) -> None:
        """The application has settings of its own, and a declaration counts once."""
        application = Application("test", settings=MailSettings).nest("/mail", Mail)
        self.assertEqual(application.settings, [MailSettings])

    def test_wrong(self) -> None:
        """What is wrong with them stands in one message with what is wrong with others."""
        application = Application("test").nest("/mail", Mail)
        error = self.assertRaises(ConfigError, App, application, MAIL_PORT="x", SERVER_PORT="y")
        for part in ("MAIL_PORT=x", "SERVER_PORT=y"):
            self.assertIn(part, str(error))

    def test_undeclared(self) -> None:
        """Settings that nobody declares are an error that says how to declare them."""
        app = self.serve(Application("test"))
        error = self.assertRaises(LookupError, app.state.settings, MailSettings)
        self.assertIn("settings=MailSettings", str(error))

    def test_no_declaration(self) -> None:
        """A class that declares no settings is refused, with what would be right."""

        @dataclass
        class Changeable:
            host: str = setting("MAIL_HOST", "localhost", parsers.host, "SMTP server")

        @dataclass(frozen=True)
        class Plain:
            host: str = "localhost"

        for kind in (Changeable, Plain, str):
            error = self.assertRaises(TypeError, App, Application("test", settings=kind))
            self.assertIn(f"{kind.__name__} doesn't declare settings", str(error))

    def test_declared_twice(self) -> None:
        """One variable can't be two settings."""

        @dataclass(frozen=True)
        class Port:
            port: int = setting("SERVER_PORT", "25", parsers.integer(1, 65535), "a port")

        error = self.assertRaises(TypeError, App, Application("test", settings=Port))
        self.assertIn("SERVER_PORT", str(error))


# --- shared objects -----------------------------------------------------------------------


class Mailer(Service):
    """Something that several features need, and that has to be started."""


class Sender(Feature):
    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        self.mailer = state.get(Mailer)


class ProviderTests(TestCase):
    def test_shared(self) -> None:
        """Features get the same object, which is made once, and started with the services."""
        application = Application("test").provide(Mailer, lambda state: Mailer())
        app = self.serve(application.nest("/one", Sender).nest("/two", Sender))
        one, two = (mount.feature for mount in app.state.mounts)
        assert isinstance(one, Sender)
        assert isinstance(two, Sender)
        self.assertIs(one.mailer, two.mailer)
        self.assertEqual(list(app.state.services), [one.mailer])

    def test_missing(self) -> None:
        """A missing one names who needs it, and what to write."""
        error = self.assertRaises(
            MissingProviderError, App, Application("test").nest("/one", Sender)
        )
        self.assertIn("Sender: Mailer has no provider", str(error))
        self.assertIn("application.provide(Mailer", str(error))

    def test_twice(self) -> None:
        """One type has one provider."""
        application = Application("test").provide(Mailer, lambda state: Mailer())
        self.assertRaises(ValueError, application.provide, Mailer, lambda state: Mailer())


# --- around every request -----------------------------------------------------------------


class Refusing(Middleware):
    """Refuses everybody without a name, and notes the others'."""

    def render(self, request: Request) -> Any:
        if request.getHeader(b"X-Name") is None:
            raise Forbidden("Who are you?")
        request.setHeader(b"X-Seen", b"yes")
        return self.inner.render(request)


class AroundTests(TestCase):
    def test_middleware(self) -> None:
        """The application's middleware is inside of errors, CORS and the access log."""
        application = Application("test", middleware=[lambda inner, state: Refusing(inner)])
        app = self.serve(application.nest("/counter", Counter))
        refused = app.request("GET", "/api/v1/counter", {"Origin": ORIGIN})
        self.assertEqual((refused.status, refused.json["code"]), (403, "FORBIDDEN"))
        self.assertEqual(refused.headers["access-control-allow-origin"], ORIGIN)
        self.assertEqual([line["status"] for line in app.lines("x121.access")], [403])
        seen = app.request("GET", "/api/v1/counter", {"X-Name": "me"})
        self.assertEqual((seen.status, seen.headers["x-seen"]), (200, "yes"))

    def test_order_of_middleware(self) -> None:
        """The first one is the outermost."""
        order = []

        def make(name: str) -> Any:
            class Noting(Middleware):
                def render(self, request: Request) -> Any:
                    order.append(name)
                    return self.inner.render(request)

            return lambda inner, state: Noting(inner)

        application = Application("test", middleware=[make("outer"), make("inner")])
        self.serve(application).request("GET", "/health")
        self.assertEqual(order, ["outer", "inner"])

    def test_cors_headers(self) -> None:
        """Pages may send and read the headers that the application names."""
        application = Application(
            "test", cors_request_headers=["X-Client"], cors_response_headers=["X-Total"]
        )
        app = self.serve(application.nest("/counter", Counter))
        asking = {
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "x-client",
        }
        allowed = app.request("OPTIONS", "/api/v1/counter", asking)
        self.assertEqual(allowed.status, 204)
        self.assertIn("X-Client", allowed.headers["access-control-allow-headers"])
        response = app.request("GET", "/api/v1/counter", {"Origin": ORIGIN})
        self.assertIn("X-Total", response.headers["access-control-expose-headers"])

    def test_documents(self) -> None:
        """Both documents have the application's title and version."""
        app = self.serve(Application("test", title="A product", version="7"))
        for path in ("/openapi.json", "/asyncapi.json"):
            info = app.request("GET", path).json["info"]
            self.assertEqual((info["title"], info["version"]), ("A product", "7"))


# --- what features have besides -----------------------------------------------------------


class FeatureTests(TestCase):
    def test_authenticate(self) -> None:
        """A feature's ``authenticate`` says whose a handshake is."""

        class Sessions(Feature):
            def authenticate(self, request: Request) -> DbId | None:
                if request.getCookie(b"session") is None:
                    raise Unauthorized("There is no session", challenge="Cookie")
                return DbId(7)

        app = self.serve(Application("test").nest("/sessions", Sessions))
        app.websocket(headers={"Cookie": "session=x"})
        self.assertEqual(len(app.state.ws_manager.get_by_user(DbId(7))), 1)
        again = Application("test").nest("/sessions", Sessions).nest("/other", Sessions)
        error = self.assertRaises(ValueError, App, again)
        self.assertIn("Sessions and Sessions", str(error))

    def test_every(self) -> None:
        """A periodic task goes on after an exception, and stops with the server."""
        calls = []

        def fail() -> None:
            calls.append(app.clock.seconds())
            raise RuntimeError("a fault")

        app = self.serve(Application("test"))
        app.state.every(10, fail)
        app.state.services.startService()
        for _ in range(3):
            app.clock.advance(10)
        self.assertEqual(len(calls), 3)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 3)
        app.state.services.stopService()
        app.clock.advance(10)
        self.assertEqual((len(calls), app.clock.getDelayedCalls()), (3, []))

    def test_every_never_overlaps(self) -> None:
        """A call that takes longer than the interval delays the next, and a stop cancels it."""
        begun: list[Deferred[None]] = []

        def wait() -> Deferred[None]:
            begun.append(Deferred())
            return begun[-1]

        app = self.serve(Application("test"))
        app.state.every(10, wait)
        app.state.services.startService()
        app.clock.advance(10)
        app.clock.advance(25)
        self.assertEqual(len(begun), 1)
        begun[0].callback(None)
        app.clock.advance(5)
        self.assertEqual(len(begun), 2)
        app.state.services.stopService()
        self.assertTrue(begun[1].called)
        self.assertEqual(app.clock.getDelayedCalls(), [])

    def test_commands(self) -> None:
        """Methods that are decorated are commands, by name."""

        class Pruning(Feature):
            @command("prune")
            def prune_all(self, days: int) -> None:
                """Prune."""

        self.assertEqual(commands_of(Pruning), {"prune": Pruning.prune_all})
        self.assertEqual(commands_of(Counter), {})
