"""What every open page is told, and what one that doesn't listen costs."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from tests.ws.client import WebSocket, WebSocketTestCase
from tests.ws.links import FakeLink, connected
from x121.builtin.console.feed import MAX_TOPICS, MAX_WEBSOCKETS, Feed
from x121.builtin.console.recorder import HISTORY_SECS, MAX_ERRORS, PROBE_SECS, Recorder
from x121.core.types import DbId
from x121.testing import App
from x121.testing.frames import TEXT

log = Logger(namespace="test.console")

TOKEN = "correct-horse-battery-staple"
FIELDS = {"samples", "websockets"}


class FeedTestCase(WebSocketTestCase):
    def start(self) -> App:
        """Return a server in memory whose console is on and runs."""
        app = self.app(
            DIAGNOSTICS="true", DIAGNOSTICS_TOKEN=TOKEN, WS_HEARTBEAT_INTERVAL_SECS="86400"
        )
        app.state.services.startService()
        return app

    def watch(self, app: App) -> WebSocket:
        """Return an open page's WebSocket."""
        return WebSocket(app, "/ws/console", {"Authorization": f"Bearer {TOKEN}"})

    def seconds(self, app: App, count: int = 1) -> None:
        """Let so many seconds pass."""
        app.clock.pump([PROBE_SECS] * round(count / PROBE_SECS))

    def told(self, page: WebSocket) -> dict[str, Any]:
        """Return the one message that has come, besides the very first."""
        (message,) = (message for message in page.messages() if "samples" in message)
        assert isinstance(message, dict)
        return message


class FeedTests(FeedTestCase):
    def test_greeting(self) -> None:
        """A page is told first which connection it is, since when, and how large the pool is."""
        app = self.start()
        begun = app.now()
        self.seconds(app)
        page = self.watch(app)
        greeting, message = page.messages()
        expected = {"connection_id": page.id, "started_at": begun, "pool_max": 1}
        self.assertEqual(greeting, expected)
        self.assertEqual(message["websockets"]["shown"][0]["id"], page.id)

    def test_first_message(self) -> None:
        """Then it is told all that is kept."""
        app = self.start()
        begun = app.now()
        app.request("GET", "/health")
        self.seconds(app, 3)
        log.error("something")
        page = self.watch(app)
        message = self.told(page)
        self.assertEqual(set(message), {*FIELDS, "errors"})
        self.assertEqual([sample["time"] - begun for sample in message["samples"]], [1, 2, 3])
        self.assertEqual(message["samples"][0]["requests_per_sec"], 1.0)
        self.assertEqual([error["message"] for error in message["errors"]], ["something"])

    def test_at_once(self) -> None:
        """A page that comes before there is anything is told so."""
        message = self.told(self.watch(self.start()))
        self.assertEqual(set(message), FIELDS)
        self.assertEqual(message["samples"], [])

    def test_every_second(self) -> None:
        """After that a page is told, every second, what is new."""
        app = self.start()
        self.seconds(app, 5)
        page = self.watch(app)
        self.assertEqual(len(self.told(page)["samples"]), 5)
        for _ in range(3):
            self.seconds(app)
            message = self.told(page)
            self.assertEqual(set(message), FIELDS)
            self.assertEqual([s["time"] for s in message["samples"]], [app.now()])

    def test_errors(self) -> None:
        """The last errors stand in a message when there are new ones, for every page."""
        app = self.start()
        pages = [self.watch(app), self.watch(app)]
        for page in pages:
            page.frames()
        for number in range(MAX_ERRORS + 1):
            log.error("error {number}", number=number)
            if number == 0:
                self.seconds(app)
                pages.append(self.watch(app))
                self.assertEqual([len(self.told(page)["errors"]) for page in pages], [1] * 3)
        self.seconds(app)
        for page in pages:
            told = [error["message"] for error in self.told(page)["errors"]]
            self.assertEqual((told[0], told[-1]), ("error 1", f"error {MAX_ERRORS}"))
        self.seconds(app)
        self.assertNotIn("errors", self.told(pages[0]))

    def test_slow_page(self) -> None:
        """A page that takes nothing is sent nothing more, and then all that it missed."""
        app = self.start()
        page, other = self.watch(app), self.watch(app)
        for one in (page, other):
            one.frames()
        page.take_nothing()
        self.seconds(app, 10)
        held = page.protocol.waiting_bytes
        self.assertGreater(held, 0)
        log.error("while nobody listened")
        self.seconds(app, 20)
        self.assertEqual(page.protocol.waiting_bytes, held)
        self.assertEqual(len(other.messages()), 30)
        page.outbox.resumeProducing()
        self.assertEqual(len(self.told(page)["samples"]), 1)
        self.seconds(app)
        message = self.told(page)
        self.assertEqual(len(message["samples"]), 30)
        self.assertEqual(message["errors"][0]["message"], "while nobody listened")

    def test_very_slow_page(self) -> None:
        """What it missed is no more than what is kept."""
        app = self.start()
        page = self.watch(app)
        page.frames()
        page.take_nothing()
        self.seconds(app, HISTORY_SECS + 30)
        page.outbox.resumeProducing()
        page.frames()
        self.seconds(app)
        self.assertEqual(len(self.told(page)["samples"]), HISTORY_SECS)

    def test_page_that_leaves(self) -> None:
        """A page that is closed is told nothing, and leaves nothing behind."""
        app = self.start()
        page, other = self.watch(app), self.watch(app)
        page.connection.disconnect()
        other.frames()
        self.seconds(app)
        message = self.told(other)
        self.assertEqual([row["id"] for row in message["websockets"]["shown"]], [other.id])
        self.assertNotIn("error", {line["level"] for line in app.log})

    def test_nothing_is_kept_of_it(self) -> None:
        """Whoever left is not even tried."""
        app = self.start()
        recorder = Recorder(app.state)
        page = connected("a")
        Feed(recorder, app.state).opened(page)
        link = page.link
        assert isinstance(link, FakeLink)
        recorder.on_sample()
        self.assertEqual(len(link.frames), 3)
        page.gone()
        recorder.on_sample()
        self.assertEqual(len(link.frames), 3)

    def test_what_a_page_says(self) -> None:
        """Nothing that a page sends does anything; it is closed for none of it."""
        app = self.start()
        page = self.watch(app)
        page.frames()
        for payload in (b"{}", b"", b"nonsense", b'{"type": "ping"}', b"x" * 70_000):
            page.send(TEXT, payload)
        self.assertEqual(page.frames(), [])
        self.seconds(app)
        self.assertEqual(len(page.messages()), 1)

    def test_no_events(self) -> None:
        """Events that go to everybody are not for it."""
        app = self.start()
        page = self.watch(app)
        page.frames()
        self.assertEqual(app.state.ws_manager.broadcast("news"), 0)
        self.assertEqual(page.frames(), [])


class WebSocketRowTests(FeedTestCase):
    def rows(self, app: App) -> dict[str, Any]:
        """Return what a page is told of the WebSockets."""
        found: dict[str, Any] = self.told(self.watch(app))["websockets"]
        return found

    def test_rows(self) -> None:
        """Of each connection there are its id, its user, since when, what waits, and topics."""
        app = self.start()
        manager = app.state.ws_manager
        somebody = connected("a", DbId(7))
        link = somebody.link
        assert isinstance(link, FakeLink)
        manager.add(somebody)
        link.waiting_bytes = 9
        manager.subscribe(somebody, "b")
        manager.subscribe(somebody, "a <script>")
        row, own = self.rows(app)["shown"]
        self.assertEqual(
            row,
            {
                "id": "a",
                "user_id": 7,
                "since": 0.0,
                "waiting_bytes": 9,
                "topics": ["a <script>", "b"],
                "topic_count": 2,
                "is_console": False,
            },
        )
        self.assertEqual((own["user_id"], own["since"]), (None, app.now()))
        self.assertTrue(own["is_console"])

    def test_many_topics(self) -> None:
        """Of many topics, and of long ones, some is told, and how many there are."""
        app = self.start()
        somebody = connected("a")
        app.state.ws_manager.add(somebody)
        for number in range(MAX_TOPICS + 5):
            app.state.ws_manager.subscribe(somebody, f"{number:02}" + "x" * 10_000)
        row = self.rows(app)["shown"][0]
        self.assertEqual((len(row["topics"]), row["topic_count"]), (MAX_TOPICS, MAX_TOPICS + 5))
        self.assertEqual({len(topic) for topic in row["topics"]}, {100})

    def test_many_connections(self) -> None:
        """Of many connections those are told for which most waits, and how many there are."""
        app = self.start()
        for number in range(MAX_WEBSOCKETS + 50):
            connection = connected(f"{number}")
            assert isinstance(connection.link, FakeLink)
            connection.link.waiting_bytes = number if number % 2 else 0
            app.state.ws_manager.add(connection)
        told = self.rows(app)
        self.assertEqual(told["count"], MAX_WEBSOCKETS + 51)
        shown = [row["waiting_bytes"] for row in told["shown"]]
        self.assertEqual(len(shown), MAX_WEBSOCKETS)
        self.assertEqual(shown[:3], [249, 247, 245])
        self.assertEqual(shown.count(0), MAX_WEBSOCKETS - 125)
