"""The log: levels, forms, request ids, bridges from elsewhere, and how lines are written."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import LogEvent, Logger, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.logs.test_writer import FakeReactor, describe_loss
from tests.python import run
from x121 import logs
from x121.logs import (
    FIELDS,
    REQUEST_ID,
    LogLevels,
    LogObserver,
    format_console,
    format_json,
    format_terminal,
)
from x121.logs.output import LogOutput
from x121.logs.writer import LineWriter

ROOT = Path(__file__).parents[2]
HOSTILE = (
    'a\nb\r\n\x1b[31m\x9b2J\0\x7f\u2028\u2029\u0085\v\f"\\\udcff \u202eevil\u202c \u00e9\U0001f600'
)

COLOUR = re.compile(rb"\x1b\[(?:0|1;31|2|32|33|36)m")
"""Every command that we send to a terminal."""

COMMANDS = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""The characters that a terminal acts on instead of showing them (C0, DEL, C1; line ends; bidi)."""

any_text = st.text(st.characters(codec=None))


def event(text: str = "", level: Any = LogLevel.info, **fields: Any) -> LogEvent:
    """Return an event as a Logger makes it."""
    return {
        "log_time": 1767323045.678,
        "log_level": level,
        "log_namespace": "x121.test",
        "log_format": "{log_text}" if text else "",
        "log_text": text,
        **fields,
    }


def request(**fields: Any) -> LogEvent:
    """Return an event as the access log makes it."""
    told = {
        "method": "GET",
        "path": "/health",
        "status": 200,
        "duration_ms": 0.412,
        "bytes": 15,
        "remote": "127.0.0.1",
        "request_id": "abc",
    }
    return {**event(), FIELDS: told | fields}


def temporary_path(test: SynchronousTestCase) -> Path:
    """Return the path of a file to be made, which goes with ``test``."""
    folder = tempfile.TemporaryDirectory()
    test.addCleanup(folder.cleanup)
    return Path(folder.name) / "log"


def failure(error: Exception) -> Failure:
    """Return ``error`` as it is caught."""
    try:
        raise error
    except Exception:
        return Failure()


def as_json(event: LogEvent) -> dict[str, Any]:
    """Return the one JSON object on the one line that ``event`` becomes."""
    line = format_json(event)
    text = line.decode("utf-8")
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1 or not text[:-1].isprintable(), text
    assert line.count(b"\n") == 1
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


class LevelsTests(SynchronousTestCase):
    """``LOG_LEVEL``."""

    def test_one_level(self) -> None:
        """A level alone is everybody's."""
        for text, level in (
            ("debug", LogLevel.debug),
            ("INFO", LogLevel.info),
            (" warn ", LogLevel.warn),
            ("error", LogLevel.error),
        ):
            self.assertIs(LogLevels.parse(text).least_for("x121.http"), level)

    def test_parts(self) -> None:
        """A part's level holds for it and all below it, the longest part first."""
        levels = LogLevels.parse("error,x121.ws=debug, x121.ws.manager = warn".replace(" = ", "="))
        for namespace, level in (
            ("x121", LogLevel.error),
            ("x121.ws", LogLevel.debug),
            ("x121.ws.protocol", LogLevel.debug),
            ("x121.ws.manager", LogLevel.warn),
            ("x121.ws.manager.x", LogLevel.warn),
            ("x121.wsx", LogLevel.error),
            ("", LogLevel.error),
        ):
            self.assertIs(levels.least_for(namespace), level)

    def test_parts_alone(self) -> None:
        """Without a level of its own, everybody else has info."""
        levels = LogLevels.parse("x121.db=debug")
        self.assertIs(levels.least_for("x121"), LogLevel.info)
        self.assertIs(levels.least_for("x121.db.pool"), LogLevel.debug)

    def test_quiet_parts(self) -> None:
        """Twisted's own news is logged from warn up, unless it is named."""
        self.assertIs(LogLevels.parse("debug").least_for("twisted.web"), LogLevel.warn)
        self.assertIs(LogLevels.parse("debug").least_for("log_legacy"), LogLevel.warn)
        levels = LogLevels.parse("error,twisted=info")
        self.assertIs(levels.least_for("twisted.web"), LogLevel.info)

    def test_refused(self) -> None:
        """Anything else is refused with what is allowed and what it was."""
        for text in (
            "",
            "loud",
            "critical",
            "info,warn",
            "x121.ws=debug,info",
            "info,",
            ",info",
            "=debug",
            "info,=debug",
            "info,x121=loud",
            "info,x121=",
            "info;x121=debug",
            "info,x121 .ws=debug",
            "info,a\nb=debug",
            "info,x121==debug",
        ):
            error = self.assertRaises(ValueError, LogLevels.parse, text)
            self.assertIn("debug, info, warn or error", str(error))

    def test_text(self) -> None:
        """Levels print as they were written."""
        self.assertEqual(str(LogLevels.parse("info,x121.ws=debug")), "info,x121.ws=debug")

    @given(any_text | st.text("inforwade=,. x1"))
    def test_any_text(self, text: str) -> None:
        """Any text is levels or refused in a printable line."""
        try:
            LogLevels.parse(text).least_for("x121")
        except ValueError as error:
            self.assertTrue(str(error).isprintable())
            self.assertLess(len(str(error)), 1000)


class ObserverTests(SynchronousTestCase):
    """``LogObserver``."""

    def lines(self, levels: str, *events: LogEvent) -> list[Any]:
        """Return the messages that are logged of ``events``."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        line_writer = LineWriter(LogOutput(writer), FakeReactor(), describe_loss)
        observe = LogObserver(LogLevels.parse(levels), format_json, line_writer)
        for one in events:
            observe(one)
        os.close(writer)
        with open(reader, closefd=False) as stream:
            return [json.loads(line).get("message") for line in stream]

    def test_levels(self) -> None:
        """What is below its part's level is not logged."""
        found = self.lines(
            "warn,x121.test=info",
            event("debug", LogLevel.debug),
            event("info", LogLevel.info),
            event("other info", LogLevel.info, log_namespace="x121.other"),
            event("other warning", LogLevel.warn, log_namespace="x121.other"),
            event("critical", LogLevel.critical),
        )
        self.assertEqual(found, ["info", "other warning", "critical"])

    def test_no_namespace(self) -> None:
        """An event without a namespace is logged at everybody's level."""
        nameless = event("a", log_namespace=None)
        missing = event("b")
        del missing["log_namespace"]
        self.assertEqual(self.lines("info", nameless, missing), ["a", "b"])


class JsonTests(SynchronousTestCase):
    """``format_json``."""

    def test_keys(self) -> None:
        """A line has timestamp, level, logger, message, the caller's fields, in this order."""
        line = as_json(event("Hello", LogLevel.warn, port=3000, ready=True, path=None))
        self.assertEqual(
            line,
            {
                "timestamp": "2026-01-02T03:04:05.678Z",
                "level": "warn",
                "logger": "x121.test",
                "message": "Hello",
                "port": 3000,
                "ready": True,
                "path": None,
            },
        )
        self.assertEqual(list(line)[:4], ["timestamp", "level", "logger", "message"])

    def test_no_message(self) -> None:
        """An event that is all fields, as the access log's, has no message."""
        self.assertNotIn("message", as_json(event(status=200)))

    def test_message_of_a_failure(self) -> None:
        """A failure logged without a text has its error as the message."""
        line = as_json(event(log_failure=failure(ValueError("no")), log_format=None))
        self.assertEqual(line["message"], "no")

    def test_traceback(self) -> None:
        """A failure's traceback is text in the same object."""
        line = as_json(event("Failed", log_failure=failure(ValueError(HOSTILE))))
        self.assertIn("Traceback", line["traceback"])
        self.assertIn("ValueError", line["traceback"])

    def test_failure_whose_text_fails(self) -> None:
        """An exception that can't be printed is logged all the same."""

        class Unprintable(Exception):
            def __str__(self) -> str:
                raise RuntimeError

        line = as_json(event("Failed", log_failure=failure(Unprintable())))
        self.assertIn("Unprintable", line["traceback"])

    def test_huge_values(self) -> None:
        """Long texts are cut, and say how long they were."""
        line = as_json(event("m" * 100_000, field="f" * 100_000))
        self.assertEqual(line["message"], "m" * 8192 + "... (100000 characters)")
        self.assertEqual(line["field"], "f" * 8192 + "... (100000 characters)")
        huge = as_json(event("x", log_failure=failure(ValueError("e" * 1_000_000))))
        self.assertLess(len(huge["traceback"]), 70_000)

    def test_no_numbers(self) -> None:
        """NaN and infinity, which JSON lacks, are null; an integer of any size is logged."""
        line = as_json(event("x", a=math.nan, b=-math.inf, c=10**30))
        self.assertEqual((line["a"], line["b"], line["c"]), (None, None, 10**30))

    def test_only_plain_fields(self) -> None:
        """Objects are no fields: their repr might hold a secret."""
        line = as_json(event("x", request=object(), body=b"hunter2", headers={"a": "hunter2"}))
        self.assertEqual(sorted(line), ["level", "logger", "message", "timestamp"])

    def test_ours_can_not_be_overridden(self) -> None:
        """A field named like one of the line's own keys does not replace that."""
        fields = dict.fromkeys(("timestamp", "level", "logger", "traceback"), "theirs")
        line = as_json({**event("x"), **fields})
        self.assertEqual((line["level"], line["logger"]), ("info", "x121.test"))
        self.assertEqual(line["timestamp"], "2026-01-02T03:04:05.678Z")
        self.assertNotIn("traceback", line)

    def test_wrong_format(self) -> None:
        """A format that doesn't fit its event is a line all the same."""
        self.assertIn("message", as_json(event(log_format="{nothing}")))
        self.assertIn("message", as_json(event(log_format="{")))
        self.assertIn("message", as_json(event(log_format=b"\xff")))

    @settings(deadline=None)
    @given(any_text, any_text, st.integers() | st.floats() | st.booleans() | st.none())
    @example(HOSTILE, HOSTILE, 1)
    def test_any_text(self, message: str, field: str, number: Any) -> None:
        """Any event is one JSON object on one line, and its text survives."""
        line = as_json(event(message, field=field, number=number, log_namespace=field))
        self.assertEqual(line.get("message", ""), message)
        self.assertEqual(line["field"], field)

    @settings(deadline=None)
    @given(any_text, any_text)
    @example(HOSTILE, HOSTILE)
    def test_injection(self, text: str, other: str) -> None:
        """No text commands a terminal that shows the line, wherever it comes from."""
        for one in (
            event(text, log_namespace=other, request_id=other, **{f"x{other}": text}),
            event("Failed", log_failure=failure(ValueError(text))),
            request(method=other, path=text, remote=other, request_id=text),
        ):
            shown = format_json(one)[:-1].decode().replace("\x7f", "")  # which terminals ignore
            self.assertIsNone(COMMANDS.search(shown))


class ConsoleTests(SynchronousTestCase):
    """``format_console``."""

    def test_line(self) -> None:
        """A line is time, level, logger and message."""
        expected = b"2026-01-02T03:04:05.678Z warn  x121.test: Hello\n"
        self.assertEqual(format_console(event("Hello", LogLevel.warn)), expected)

    def test_fields(self) -> None:
        """An event that is all fields shows them."""
        self.assertIn(b": method=GET status=200\n", format_console(event(method="GET", status=200)))

    def test_traceback(self) -> None:
        """A traceback stands below its line, indented."""
        text = format_console(event("Failed", log_failure=failure(ValueError("a\nb\x1b[0m"))))
        head, *below = text.decode().splitlines()
        self.assertTrue(head.endswith("Failed"))
        for line in below:
            self.assertTrue(line.startswith("    "), line)
            self.assertTrue(line.isprintable(), ascii(line))

    @settings(deadline=None)
    @given(any_text, any_text)
    @example(HOSTILE, HOSTILE)
    def test_injection(self, text: str, other: str) -> None:
        """No text makes a second line, or commands a terminal, wherever it comes from."""
        for one in (
            event(text, log_namespace=other, request_id=other),
            event(path=text),
            event(**{f"x{other}": text}),
            request(method=other, path=text, remote=other, request_id=text),
        ):
            line = format_console(one)
            self.assertEqual(line.count(b"\n"), 1)
            self.assertIsNone(COMMANDS.search(line[:-1].decode()))

    def test_request(self) -> None:
        """A line of the access log is read from left to right."""
        self.assertEqual(
            format_console(request()),
            b"2026-01-02T03:04:05.678Z info  x121.test:"
            b" GET /health 200 0.4 ms 15 B to 127.0.0.1 [abc]\n",
        )

    def test_any_status(self) -> None:
        """A request with a status that nobody knows is shown, too."""
        for status in (0, 99, 101, 304, 499, 799):
            self.assertIn(b" %d " % status, format_console(request(status=status)))
            self.assertIn(b"m%d\x1b" % status, format_terminal(request(status=status)))


class TerminalTests(SynchronousTestCase):
    """``format_terminal``."""

    def test_line(self) -> None:
        """The level has a colour of its own; time and logger are dim."""
        for level, colour in (
            (LogLevel.debug, b"2"),
            (LogLevel.info, b"32"),
            (LogLevel.warn, b"33"),
            (LogLevel.error, b"1;31"),
            (LogLevel.critical, b"1;31"),
        ):
            name = level.name.encode().ljust(5)
            self.assertEqual(
                format_terminal(event("Hello", level, request_id="abc")),
                b"\x1b[2m2026-01-02T03:04:05.678Z\x1b[0m"
                b" \x1b[%bm%b\x1b[0m"
                b" \x1b[2mx121.test:\x1b[0m Hello \x1b[2m[abc]\x1b[0m\n" % (colour, name),
            )

    def test_status(self) -> None:
        """The status of a request has the colour of its class."""
        for status, colour in ((101, 32), (204, 32), (304, 36), (404, 33), (499, 33)):
            line = format_terminal(request(status=status))
            self.assertIn(b" GET /health \x1b[%dm%d\x1b[0m 0.4 ms" % (colour, status), line)
        self.assertIn(b"\x1b[1;31m503\x1b[0m", format_terminal(request(status=503)))

    @settings(deadline=None)
    @given(any_text, any_text)
    @example(HOSTILE, HOSTILE)
    @example("\x1b[32m", "\x1b]0;title\x07")
    def test_injection(self, text: str, other: str) -> None:
        """No text becomes a command: without our colours the line is the plain one."""
        for one, colours in (
            (event(text or "x", log_namespace=other, request_id=other or "x"), 4),
            (event(path=text), 3),
            (event(**{f"x{other}": text}), 3),
            (request(method=other, path=text, remote=other, request_id=text or "x"), 5),
            (event("Failed", log_failure=failure(ValueError(text))), 3),
        ):
            line = format_terminal(one)
            self.assertEqual(COLOUR.sub(b"", line), format_console(one))
            self.assertNotIn(b"\x1b", format_console(one))
            self.assertEqual(line.count(b"\x1b"), 2 * colours)


class RequestIdTests(SynchronousTestCase):
    """The request id on every line."""

    def test_from_the_context(self) -> None:
        """A line logged while a request is handled has its id; other lines have none."""
        self.assertNotIn("request_id", as_json(event("x")))
        token = REQUEST_ID.set("abc")
        try:
            self.assertEqual(as_json(event("x"))["request_id"], "abc")
            self.assertTrue(format_console(event("x")).endswith(b" [abc]\n"))
            self.assertEqual(as_json(event("x", request_id="own"))["request_id"], "own")
        finally:
            REQUEST_ID.reset(token)
        self.assertTrue(format_console(event("x")).endswith(b"x\n"))

    def test_below_await(self) -> None:
        """Coroutines that take turns each keep their request's id."""
        lines: list[Any] = []
        turns: list[Deferred[None]] = [Deferred(), Deferred()]

        async def handle(number: int) -> None:
            await turns[number]
            lines.append(as_json(event("x"))["request_id"])

        for number in (0, 1):
            token = REQUEST_ID.set(f"id-{number}")
            ensureDeferred(handle(number))
            REQUEST_ID.reset(token)
        turns[1].callback(None)
        turns[0].callback(None)
        self.assertEqual(lines, ["id-1", "id-0"])
        self.assertIs(REQUEST_ID.get(), None)


class ChoiceTests(SynchronousTestCase):
    """Which form, and where."""

    def test_auto(self) -> None:
        """``auto`` is for people on a terminal and JSON elsewhere; the others are themselves.

        Colours are for terminals alone, and for those that may have them.
        """
        ours, terminal = os.openpty()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, terminal)
        with Path(os.devnull).open("wb") as nothing:
            elsewhere = nothing.fileno()
            for name, descriptor, colour, expected in (
                ("auto", terminal, True, format_terminal),
                ("auto", terminal, False, format_console),
                ("auto", elsewhere, True, format_json),
                ("json", terminal, True, format_json),
                ("console", terminal, True, format_terminal),
                ("console", terminal, False, format_console),
                ("console", elsewhere, True, format_console),
            ):
                self.assertIs(logs.choose_format(name, descriptor, colour=colour), expected)

    def test_last_line(self) -> None:
        """A process that ends before it has a log says so in the form asked for."""
        self.assertEqual(logs.last_line("a\n  b", "console"), "a\n  b")
        line = logs.last_line("a\n  b {x}", "json")
        self.assertNotIn("\n", line)
        found = json.loads(line)
        self.assertEqual((found["level"], found["message"]), ("error", "a\n  b {x}"))


@contextlib.contextmanager
def bridged() -> Iterator[list[LogEvent]]:
    """Send Python's logging to a list of events."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    events: list[LogEvent] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)
    logs.bridge_standard_logging()
    try:
        yield events
    finally:
        globalLogPublisher.removeObserver(observer)
        root.handlers[:] = handlers
        root.setLevel(level)


class BridgeTests(SynchronousTestCase):
    """Python's ``logging`` and ``warnings``."""

    def test_levels(self) -> None:
        """Records have their logger's name and their level; below info there are none."""
        with bridged() as events:
            library = logging.getLogger("library.part")
            library.debug("nothing")
            for level in (20, 25, 30, 40, 50):
                library.log(level, "level %d", level)
        self.assertEqual(
            [(e["log_namespace"], e["log_level"].name, e["log_text"]) for e in events],
            [
                ("library.part", "info", "level 20"),
                ("library.part", "info", "level 25"),
                ("library.part", "warn", "level 30"),
                ("library.part", "error", "level 40"),
                ("library.part", "critical", "level 50"),
            ],
        )

    def test_text_is_no_format(self) -> None:
        """Braces in a record's text are text."""
        with bridged() as events:
            logging.getLogger("library").error("{not_a_field} {")
        self.assertEqual(as_json(events[0])["message"], "{not_a_field} {")

    def test_exceptions(self) -> None:
        """A record's exception is logged with its traceback."""
        with bridged() as events:
            try:
                raise KeyError("gone")
            except KeyError:
                logging.getLogger("library").exception("Failed")
        self.flushLoggedErrors(KeyError)
        line = as_json(events[0])
        self.assertEqual(line["message"], "Failed")
        self.assertIn("KeyError: 'gone'", line["traceback"])

    def test_exception_flag_without_exception(self) -> None:
        """``exc_info`` without an exception is a record without a traceback."""
        with bridged() as events:
            logging.getLogger("library").error("Fine", exc_info=True)
        self.assertNotIn("traceback", as_json(events[0]))

    def test_wrong_arguments(self) -> None:
        """A record whose arguments don't fit is logged all the same, and nothing is printed."""
        with bridged() as events, contextlib.redirect_stderr(io.StringIO()) as errors:
            logging.getLogger("library").error("%d %d", "x")
        self.assertIn("'%d %d' with arguments", as_json(events[0])["message"])
        self.assertEqual(errors.getvalue(), "")

    def test_everything_a_process_writes(self) -> None:
        """With the log begun, Python's logging, warnings and prints are JSON lines as well."""
        script = """
import logging, sys, warnings
from twisted.internet import reactor
from twisted.logger import Logger, globalLogBeginner
from x121 import logs
from x121.logs.output import LogOutput
levels = logs.LogLevels.parse("info,log_legacy=info,stdout=info,stderr=info")
observer = logs.make_observer(levels, "json", LogOutput.open("-"), reactor, colour=False)
globalLogBeginner.beginLoggingTo([observer])
logs.bridge_standard_logging()
Logger(namespace="x121").info("ours")
logging.getLogger("library").warning("a\\nb")
warnings.warn("careful\\nnow", UserWarning)
print("printed")
print("to stderr", file=sys.stderr)
try:
    1 / 0
except ZeroDivisionError:
    Logger(namespace="x121").failure("failed")
"""
        lines = [json.loads(line) for line in run(script).splitlines()]
        messages = [line["message"] for line in lines]
        for expected in ("ours", "a\nb", "printed", "to stderr", "failed"):
            self.assertIn(expected, messages)
        self.assertTrue([text for text in messages if "careful\nnow" in text], messages)
        self.assertIn("ZeroDivisionError", lines[-1]["traceback"])

    def test_loggers_reach_it(self) -> None:
        """A Logger of ours gives the events that are formatted here."""
        events: list[LogEvent] = []
        observer: Any = events.append
        Logger(namespace="x121.test", observer=observer).info("Port {port}", port=3000)
        line = as_json(events[0])
        self.assertEqual((line["message"], line["port"]), ("Port 3000", 3000))
