"""The configuration: what is read, what is refused, and what is said about it."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from x121.config import AppConfig, ConfigError, LoadedConfig, load, variables
from x121.core.types import ServerName

# What no variable of ours takes: control characters, other scripts' digits, Python's numbers.
HOSTILE_NUMBERS = (
    " 3000",
    "3000 ",
    "3000\n",
    "\u0661\u0662\u0663",
    "\u00b2",
    "1e3",
    "-1",
    "+1",
    "0x10",
    "1_000",
    "nan",
    "inf",
    "1,5",
    "9" * 5000,
    "\0",
    "\udcff",
    "abc",
)
SECRET = "hunter2-correct-horse"

text = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
unlimited = settings(deadline=None)  # the machine may be busy


def config(**environ: str) -> AppConfig:
    """Return the configuration that ``environ`` alone gives."""
    return load(environ, os.devnull).config


def problem(**environ: str) -> str:
    """Return what is wrong with ``environ``; it must be one line, besides the heading."""
    try:
        load(environ, os.devnull)
    except ConfigError as error:
        heading, line = str(error).split("\n")
        assert heading == "wrong configuration:"
        return line.strip()
    raise AssertionError(f"{environ} was accepted")


class DefaultsTests(SynchronousTestCase):
    """An empty environment."""

    def test_defaults(self) -> None:
        """Every default is the contract's."""
        found = config()
        db, server, ws = found.db, found.server, found.ws
        self.assertEqual((db.host, db.port, db.name), ("", 5432, "trulience_x121"))
        self.assertEqual((db.user, db.password, db.ssl), ("x121", "", False))
        self.assertEqual((db.data_dir, db.pool_min, db.pool_max), (Path("var/postgres"), 2, 10))
        self.assertEqual((db.connect_timeout_secs, db.acquire_timeout_secs), (10, 5))
        self.assertEqual((server.host, server.port), ("0.0.0.0", 3000))
        self.assertEqual(server.cors_origins, ("http://localhost:5173",))
        self.assertEqual((server.request_timeout_secs, server.shutdown_timeout_secs), (30, 30))
        self.assertEqual(server.max_body_bytes, 2097152)
        self.assertEqual((server.header_timeout_secs, server.keepalive_timeout_secs), (10, 75))
        self.assertEqual((server.trusted_proxies, server.log_format), ((), "auto"))
        self.assertIs(server.log_level.default, LogLevel.info)
        self.assertIs(server.diagnostics, False)
        self.assertEqual((ws.heartbeat_interval_secs, ws.pong_timeout_secs), (30, 10))
        self.assertEqual((ws.max_message_bytes, ws.send_buffer_bytes), (1048576, 1048576))
        self.assertEqual(ws.allowed_origins, server.cors_origins)
        self.assertIs(ws.fast_frames, True)

    def test_empty_values(self) -> None:
        """A variable that is set to nothing has its default."""
        self.assertEqual(config(**{v.name: "" for v in variables()}), config())

    def test_frozen(self) -> None:
        """Nothing can be changed once it is read."""
        found = config()
        for part in (found, found.db, found.server, found.ws):
            name = dataclasses.fields(part)[0].name
            with self.assertRaises(dataclasses.FrozenInstanceError):
                setattr(part, name, None)

    def test_settings(self) -> None:
        """There is a setting for every variable, with its text and its source."""
        shown = {
            s.name: (s.display_value, s.source) for s in load({"DB_PORT": "1"}, os.devnull).settings
        }
        self.assertEqual(list(shown), [variable.name for variable in variables()])
        self.assertEqual(shown["DB_PORT"], ("1", "environment"))
        self.assertEqual(shown["DB_NAME"], ("trulience_x121", "default"))

    def test_websockets_follow_cors(self) -> None:
        """``WS_ALLOWED_ORIGINS`` is as ``CORS_ORIGINS`` until it is set."""
        self.assertEqual(config(CORS_ORIGINS="http://a").ws.allowed_origins, ("http://a",))
        both = config(CORS_ORIGINS="http://a", WS_ALLOWED_ORIGINS="http://b")
        self.assertEqual(both.ws.allowed_origins, ("http://b",))
        self.assertEqual(both.server.cors_origins, ("http://a",))


class NumbersTests(SynchronousTestCase):
    """Ports, counts, sizes and times."""

    def test_hostile_numbers(self) -> None:
        """Every number is ASCII digits, and whatever else Python's int() takes is refused."""
        for name in ("SERVER_PORT", "DB_PORT", "DB_POOL_MAX", "MAX_BODY_BYTES", "DB_POOL_MIN"):
            for value in (*HOSTILE_NUMBERS, "1.5"):
                self.assertIn("expected a whole number from ", problem(**{name: value}))

    def test_hostile_seconds(self) -> None:
        """So are seconds, with a point at most."""
        for value in (*HOSTILE_NUMBERS, "0", "0.0", "86401", ".5", "5.", "86400.000000001"):
            self.assertIn("expected seconds above 0", problem(REQUEST_TIMEOUT_SECS=value))

    def test_port_range(self) -> None:
        """A port is up to 65535, and 0 is one to listen on but not to connect to."""
        self.assertEqual(config(SERVER_PORT="0").server.port, 0)
        self.assertEqual(config(SERVER_PORT="65535").server.port, 65535)
        expected = "SERVER_PORT=70000 (environment): expected a whole number from 0 to 65535"
        self.assertEqual(problem(SERVER_PORT="70000"), expected)
        self.assertIn("from 1 to 65535", problem(DB_PORT="0"))

    def test_pool_bounds(self) -> None:
        """A pool that keeps more connections than it may have is refused, and named."""
        self.assertEqual(config(DB_POOL_MIN="3", DB_POOL_MAX="3").db.pool_min, 3)
        self.assertEqual(
            problem(DB_POOL_MIN="4", DB_POOL_MAX="3"),
            "DB_POOL_MIN=4: expected at most DB_POOL_MAX, which is 3",
        )

    @unlimited
    @given(st.integers(0, 65535))
    def test_ports(self, port: int) -> None:
        """Every port is read as it is written."""
        self.assertEqual(config(SERVER_PORT=str(port)).server.port, port)

    @unlimited
    @given(st.integers(1, 86_399), st.text("0123456789", max_size=9))
    def test_seconds(self, whole: int, fraction: str) -> None:
        """Seconds may have fractions."""
        written = f"{whole}.{fraction}" if fraction else str(whole)
        self.assertEqual(config(WS_PONG_TIMEOUT_SECS=written).ws.pong_timeout_secs, float(written))

    def test_booleans(self) -> None:
        """``true`` and ``1`` are true, ``false`` and ``0`` false, and nothing else is either."""
        for value, expected in (("true", True), ("TRUE", True), ("1", True), ("False", False)):
            self.assertIs(config(DB_SSL=value).db.ssl, expected)
        for value in ("yes", "on", "2", " true", "\uff11"):
            self.assertIn("expected true or false", problem(DIAGNOSTICS=value))


class DatabaseTests(SynchronousTestCase):
    """How the database is reached."""

    def test_tls(self) -> None:
        """TLS goes up to verify-full, which needs certificates to trust."""
        with tempfile.NamedTemporaryFile() as file:
            db = config(DB_SSLMODE="VERIFY-FULL", DB_SSL_ROOT_CERT=file.name).db
            self.assertEqual((db.ssl_mode, db.ssl_root_cert), ("verify-full", file.name))
            self.assertEqual(
                problem(DB_SSLMODE="require", DB_SSL_ROOT_CERT=file.name),
                "DB_SSLMODE=require: expected verify-ca or verify-full with DB_SSL_ROOT_CERT",
            )
        self.assertEqual(
            problem(DB_SSLMODE="verify-ca"),
            "DB_SSLMODE=verify-ca: expected DB_SSL_ROOT_CERT to name the certificates to trust",
        )
        self.assertIn("expected one of disable, prefer, ", problem(DB_SSLMODE="on"))
        self.assertIn("expected a file with certificates", problem(DB_SSL_ROOT_CERT="/nowhere"))

    def test_tls_contradiction(self) -> None:
        """DB_SSL demands TLS: DB_SSLMODE may demand more, and not less."""
        self.assertIs(config(DB_SSL="true", DB_SSLMODE="require").db.ssl, True)
        self.assertEqual(
            problem(DB_SSL="true", DB_SSLMODE="disable"),
            "DB_SSLMODE=disable: expected require or stricter, because DB_SSL is true",
        )

    def test_authentication(self) -> None:
        """Ways of authentication are named as libpq has them, each once."""
        self.assertEqual(config().db.require_auth, "scram-sha-256,none")
        self.assertEqual(config(DB_REQUIRE_AUTH="MD5, none,md5").db.require_auth, "md5,none")
        for value in ("gss", "md5;none", ",", "!none"):
            self.assertIn("expected one or more of scram-", problem(DB_REQUIRE_AUTH=value))


class OriginsTests(SynchronousTestCase):
    """``CORS_ORIGINS`` and ``WS_ALLOWED_ORIGINS``."""

    def test_accepted(self) -> None:
        """An origin is kept as a browser sends it: lower case and without the default port."""
        for written, sent in (
            ("http://localhost:5173", "http://localhost:5173"),
            ("https://App.Example.COM", "https://app.example.com"),
            ("HTTPS://app.example.com:443", "https://app.example.com"),
            ("http://app.example.com:80", "http://app.example.com"),
            ("https://app.example.com:80", "https://app.example.com:80"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://[2001:DB8::1]", "http://[2001:db8::1]"),
            ("http://192.0.2.1:8080", "http://192.0.2.1:8080"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ):
            self.assertEqual(config(CORS_ORIGINS=written).server.cors_origins, (sent,))

    def test_list(self) -> None:
        """Origins are separated by commas; spaces around them and repetitions don't count."""
        found = config(CORS_ORIGINS=" http://a\n,https://b:443,, http://A:80,").server
        self.assertEqual(found.cors_origins, ("http://a", "https://b"))

    def test_refused(self) -> None:
        """Whatever a browser would never send as Origin is refused, and shown."""
        for value in (
            "*",
            "null",
            "localhost:5173",
            "//localhost",
            "ftp://localhost",
            "file:///",
            "http://",
            "http://:80",
            "http://a/",
            "http://a/path",
            "http://a?",
            "http://a?q",
            "http://a#f",
            "http://user@a",
            "http://user:pw@a",
            "http://a:",
            "http://a:0x50",
            "http://a:70000",
            "http://a:-1",
            "http://a:\u0661",
            "http://a:080",
            "http://a b",
            "http://a\\b",
            "http://*.example.com",
            "http://[::1",
            "http://::1",
            "http://[::1%25eth0]",
            "http://b\u00fccher.example",
            "http://a\tb",
            "\0http://a",
            "http://a\0",
            "http://a\udcff",
        ):
            message = problem(WS_ALLOWED_ORIGINS=value)
            self.assertIn("exact origins such as https://app.example.com:8443", message)

    def test_star(self) -> None:
        """A ``*`` is refused with the reason, because credentials are allowed."""
        self.assertIn("'*' would allow every site", problem(CORS_ORIGINS="*"))

    def test_international_name(self) -> None:
        """A name in another script is refused with the form that browsers send."""
        self.assertIn("xn--", problem(CORS_ORIGINS="http://b\u00fccher.example"))

    @unlimited
    @given(st.text("htps:/.a1Z[]@-_%*?#\\ \u00e4", max_size=25) | text)
    @example("http://a:80")
    @example("HTTP://A:080")
    def test_any_text(self, value: str) -> None:
        """What is accepted is scheme, host and port, and reads the same a second time."""
        with contextlib.suppress(ConfigError):
            origins = config(CORS_ORIGINS=value).server.cors_origins
            for origin in origins:
                parts = urlsplit(origin)
                self.assertEqual(f"{parts.scheme}://{parts.netloc}", origin)
                self.assertEqual((parts.username, origin.lower()), (None, origin))
            again = config(CORS_ORIGINS=",".join(origins) or ",").server.cors_origins
            self.assertEqual(again, origins)


class OtherValuesTests(SynchronousTestCase):
    """Hosts, networks, paths, text and the log's settings."""

    def test_hosts(self) -> None:
        """A host is an address or a name, and neither has a port."""
        for value in ("127.0.0.1", "::", "::1", "localhost", "db-1.internal", "a" * 63):
            self.assertEqual(config(SERVER_HOST=value).server.host, value)
        for value in (
            "localhost:80",
            "http://localhost",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "[::1]",
            "-a",
            "a-",
            "a..b",
            "a b",
            "a\n",
            "\u0661",
            "a" * 64,
            "a." * 130 + "a",
            "fe80::1%\n",
        ):
            self.assertIn("expected an IP address or a host name", problem(SERVER_HOST=value))

    def test_database_host_may_be_a_folder(self) -> None:
        """As libpq has it, a DB_HOST that begins with a slash is the folder of a UNIX socket."""
        self.assertEqual(config(DB_HOST="/run/postgresql").db.host, "/run/postgresql")
        self.assertIn("expected", problem(DB_HOST="run/postgresql"))

    def test_networks(self) -> None:
        """Proxies are addresses or CIDR ranges of both families."""
        found = config(TRUSTED_PROXIES="10.0.0.0/8, 192.0.2.7,fd00::/8").server.trusted_proxies
        expected = ("10.0.0.0/8", "192.0.2.7/32", "fd00::/8")
        self.assertEqual(found, tuple(map(ipaddress.ip_network, expected)))

    def test_wrong_networks(self) -> None:
        """A range with host bits set is refused with the reason, as is what is none at all."""
        self.assertIn("10.0.0.1/8 has host bits set", problem(TRUSTED_PROXIES="10.0.0.1/8"))
        for value in ("10.0.0.0/33", "10.0.0.0/8/8", "all", "10.0.0", "fe80::1%eth0", "*", "\0"):
            self.assertIn("addresses or CIDR ranges", problem(TRUSTED_PROXIES=value))

    def test_server_names(self) -> None:
        """A server has names, addresses and ranges, each once, in lower case, on a port or any."""
        names = "API.example.com, api.example.com:8443,api.example.com"
        addresses = "192.0.2.7:80,10.0.0.0/8,fd00::/8,[::1]:3000,::1"
        found = config(SERVER_NAMES=f"{names},{addresses}").server.server_names
        expected: list[ServerName] = [
            ServerName("api.example.com"),
            ServerName("api.example.com", 8443),
            ServerName(ipaddress.ip_network("192.0.2.7"), 80),
            ServerName(ipaddress.ip_network("10.0.0.0/8")),
            ServerName(ipaddress.ip_network("fd00::/8")),
            ServerName(ipaddress.ip_network("::1"), 3000),
            ServerName(ipaddress.ip_network("::1")),
        ]
        self.assertEqual(found, tuple(expected))
        self.assertEqual(config().server.server_names, ())

    def test_wrong_server_names(self) -> None:
        """What can't be a name in Host is refused, with what is wrong."""
        for value in ("http://a.test", "a.test/", "*", "*.a.test", "a.test:0", "a.test:65536",
                      "a:b", "a b", "[a]", "10.0.0.1/8", "fe80::1%eth0", "[::1", "a.test:",
                      ":80"):  # fmt: skip
            message = problem(SERVER_NAMES=f"b.test,{value}")
            self.assertIn("names, addresses or ranges such as api.example.com:8443", message)
            self.assertIn(repr(value), message)

    def test_no_nul(self) -> None:
        """A NUL, which neither a path nor libpq can hold, is refused wherever it stands."""
        for variable in variables():
            message = problem(**{variable.name: "a\0b"})
            self.assertIn(f"{variable.name}=", message)

    def test_no_broken_utf_8(self) -> None:
        """Bytes that are not UTF-8, which Python hands on as surrogates, are refused."""
        for name in ("DB_NAME", "DB_USER", "DB_PASSWORD", "DB_HOST", "DB_DATA_DIR"):
            self.assertIn("UTF-8", problem(**{name: "/x\udcff"}))

    def test_log_format(self) -> None:
        """A log format has one of three names."""
        self.assertEqual(config(LOG_FORMAT="JSON").server.log_format, "json")
        self.assertIn("expected one of auto, json, console", problem(LOG_FORMAT="text"))

    def test_fast_or_stock(self) -> None:
        """A part is ours, which is fast, or the library's own, in any case of letters."""
        for value, expected in (("fast", True), ("Stock", False), ("STOCK", False)):
            self.assertIs(config(X121_WEBSOCKET=value).ws.fast_frames, expected)
        for value in ("true", "0", "slow", "fast "):
            self.assertIn("expected one of fast, stock", problem(X121_WEBSOCKET=value))

    def test_log_level(self) -> None:
        """Log levels are parsed by ``x121.logs``, and its reasons are passed on."""
        levels = config(LOG_LEVEL="warn,x121.ws=debug").server.log_level
        self.assertIs(levels.least_for("x121.ws.manager"), LogLevel.debug)
        self.assertIn("'loud' is neither", problem(LOG_LEVEL="loud"))


class MessageTests(SynchronousTestCase):
    """What a wrong configuration says."""

    def test_everything_at_once(self) -> None:
        """One message lists every wrong variable, its value, its source and what is allowed."""
        seconds = "expected seconds above 0 and up to 86400, such as 30 or 0.5"
        with self.assertRaises(ConfigError) as caught:
            config(SERVER_PORT="70000", DB_SSL="maybe", WS_PONG_TIMEOUT_SECS="0")
        self.assertEqual(
            str(caught.exception).split("\n"),
            [
                "wrong configuration:",
                "  DB_SSL=maybe (environment): expected true or false",
                "  SERVER_PORT=70000 (environment): expected a whole number from 0 to 65535",
                f"  WS_PONG_TIMEOUT_SECS=0 (environment): {seconds}",
            ],
        )

    def test_log_format_of_the_message(self) -> None:
        """The error knows the log format asked for, so that the last line can be in it."""
        with self.assertRaises(ConfigError) as caught:
            config(SERVER_PORT="x", LOG_FORMAT="JSON")
        self.assertEqual(caught.exception.log_format, "json")

    def test_wrong_value_of_a_fallback(self) -> None:
        """A wrong CORS_ORIGINS is reported for what it is, once."""
        self.assertTrue(problem(CORS_ORIGINS="*").startswith("CORS_ORIGINS=*"))

    @unlimited
    @given(st.sampled_from([v.name for v in variables()]), st.text(min_size=1) | st.text(",=*\n"))
    @example("CORS_ORIGINS", "x" * 100_000)
    @example("TRUSTED_PROXIES", "x" * 100_000)
    @example("LOG_LEVEL", "x" * 100_000)
    @example("LOG_LEVEL", "\x1b[31m")
    def test_any_value(self, name: str, value: str) -> None:
        """Any value is accepted or refused in one short line that is safe on a terminal."""
        try:
            config(**{name: value})
        except ConfigError as error:
            for line in str(error).split("\n"):
                self.assertTrue(line.isprintable(), ascii(line))
                self.assertLess(len(line), 500)


class SecretTests(SynchronousTestCase):
    """The password."""

    def setUp(self) -> None:
        """Load one."""
        self.loaded = load({"DB_PASSWORD": SECRET}, os.devnull)

    def test_is_read(self) -> None:
        """The password is what was given."""
        self.assertEqual(self.loaded.config.db.password, SECRET)

    def test_not_in_settings(self) -> None:
        """The settings say that there is one, and ``repr`` of nothing holds it."""
        shown = {setting.name: setting.display_value for setting in self.loaded.settings}
        self.assertEqual(shown["DB_PASSWORD"], "(hidden)")
        self.assertNotIn(SECRET, repr(self.loaded) + str(self.loaded.config.db))

    def test_not_in_messages(self) -> None:
        """A password that is refused, and one beside something wrong, is not shown."""
        message = problem(DB_PASSWORD=f"{SECRET}\0")
        self.assertIn("DB_PASSWORD=(hidden)", message)
        self.assertNotIn(SECRET, message)
        self.assertNotIn(SECRET, problem(DB_PASSWORD=SECRET, DB_USER="\0"))

    def test_token(self) -> None:
        """A token is long enough not to be guessed, fits into a header, and isn't shown."""
        for token in ("", "x" * 16, "!~:" * 10, "x" * 512):
            self.assertEqual(config(DIAGNOSTICS_TOKEN=token).server.diagnostics_token, token)
        for wrong in ("x" * 15, "x" * 513, f"{SECRET} x", f"{SECRET}\n", f"{SECRET}\xe4", " " * 20):
            message = problem(DIAGNOSTICS_TOKEN=wrong)
            self.assertIn("DIAGNOSTICS_TOKEN=(hidden) (environment): expected 16 to 512", message)
            self.assertNotIn(wrong, message)
        self.assertNotIn(SECRET, repr(config(DIAGNOSTICS_TOKEN=SECRET)))

    @unlimited
    @given(text)
    def test_any_password(self, password: str) -> None:
        """Every text without a NUL is a password, character by character."""
        self.assertEqual(config(DB_PASSWORD=password).db.password, password)


class EnvFileTests(SynchronousTestCase):
    """The ``.env`` file."""

    def load(self, content: bytes, environ: dict[str, str] | None = None) -> LoadedConfig:
        """Return what a file with ``content`` gives."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "env"
            path.write_bytes(content)
            return load(environ or {}, str(path))

    def refused(self, content: bytes) -> str:
        """Return why a file with ``content`` is refused."""
        with self.assertRaises(ConfigError) as caught:
            self.load(content)
        return str(caught.exception)

    def test_environment_is_stronger(self) -> None:
        """The environment is read over the file, and the file over the defaults."""
        found = self.load(b"SERVER_PORT=1\nDB_PORT=2\n", {"SERVER_PORT": "3"})
        self.assertEqual((found.config.server.port, found.config.db.port), (3, 2))
        sources = {setting.name: setting.source for setting in found.settings}
        self.assertEqual(sources["SERVER_PORT"], "environment")
        self.assertEqual((sources["DB_PORT"], sources["DB_NAME"]), (".env", "default"))

    def test_empty_in_the_environment(self) -> None:
        """A variable that the environment sets to nothing has its default, not the file's value."""
        found = self.load(b"DB_HOST=db\nWS_ALLOWED_ORIGINS=http://w", {"DB_HOST": ""})
        self.assertEqual(found.config.db.host, "")
        found = self.load(
            b"CORS_ORIGINS=http://c\nWS_ALLOWED_ORIGINS=http://w", {"WS_ALLOWED_ORIGINS": ""}
        )
        self.assertEqual(found.config.ws.allowed_origins, ("http://c",))

    def test_default_file(self) -> None:
        """``.env`` in the working directory is read if it is there."""
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            self.assertEqual(load({}).config, config())
            Path(".env").write_text("SERVER_PORT=4000")
            self.assertEqual(load({}).config.server.port, 4000)

    def test_missing_file(self) -> None:
        """A file that was named and isn't there is an error that names it."""
        with self.assertRaises(ConfigError) as caught:
            load({}, "no/such/file")
        self.assertIn("no/such/file: there is no such file", str(caught.exception))

    def test_folder(self) -> None:
        """A folder in place of the file is an error that names it."""
        with self.assertRaises(ConfigError) as caught:
            load({}, os.curdir)
        self.assertIn(".: cannot be read: Is a directory", str(caught.exception))

    def test_huge_file(self) -> None:
        """A file above a mebibyte is refused, and not read to its end."""
        self.assertIn("expected at most 1048576 bytes", self.refused(b"#" * ((1 << 20) + 1)))
        self.load(b"#" * (1 << 20))

    def test_encodings(self) -> None:
        """The file is UTF-8, with or without a byte order mark, and nothing else."""
        found = self.load("\ufeffDB_NAME=caf\u00e9\n".encode())
        self.assertEqual(found.config.db.name, "caf\u00e9")
        self.assertIn(
            "expected UTF-8 text", self.refused(f"DB_PASSWORD={SECRET}\xff".encode("latin-1"))
        )
        self.assertIn("expected UTF-8 text", self.refused("DB_NAME=x".encode("utf-16")))

    def test_line_ends(self) -> None:
        """Lines end as on UNIX or on Windows, and the last one need not."""
        found = self.load(b"DB_NAME=a\r\nDB_USER='b'\r\n\r\n# x\r\nDB_PORT=7").config.db
        self.assertEqual((found.name, found.user, found.port), ("a", "b", 7))

    def test_nul(self) -> None:
        """A NUL in the file is refused."""
        self.assertIn("NUL", self.refused(b"DB_NAME=a\0b\n"))

    def test_forms(self) -> None:
        """A later line wins; ``export``, comments, and spaces around the sign don't count."""
        found = self.load(
            b"DB_NAME=first\n"
            b"# DB_NAME=commented\n"
            b"export DB_NAME = last  # really\n"
            b'  DB_USER="in quotes # not a comment"\n'
        )
        self.assertEqual(found.config.db.name, "last")
        self.assertEqual(found.config.db.user, "in quotes # not a comment")

    def test_passwords(self) -> None:
        """Dollars and quotes in a password are what they are, and nothing is expanded."""
        for line, password in (
            (r"a$HOME${PATH}$$", "a$HOME${PATH}$$"),
            (r"'a$b\"c#d=e f'", r"a$b\"c#d=e f"),
            (r'"a$b\"c"', 'a$b"c'),
            (r"'it\'s'", "it's"),
            ("a#b", "a#b"),
            ("a=b==", "a=b=="),
        ):
            found = self.load(f"DB_PASSWORD={line}\n".encode())
            self.assertEqual(found.config.db.password, password)

    def test_unreadable_lines(self) -> None:
        """A line that isn't NAME=value is refused with its number, and never shown."""
        for line in (
            f"DB_PASSWORD {SECRET}",
            f"DB_PASSWORD: {SECRET}",
            f"DB_PASSWORD='{SECRET}",
            f'DB_PASSWORD="{SECRET}" x',
            f"={SECRET}",
            SECRET,
        ):
            message = self.refused(f"DB_PORT=1\n\n# x\n{line}\nDB_NAME=x\n".encode())
            self.assertNotIn(SECRET, message)
            self.assertIn(", line 4: expected NAME=value", message)

    def test_nothing_is_put_into_the_environment(self) -> None:
        """The file is read, and the process's environment stays as it was."""
        before = dict(os.environ)
        self.load(b"DB_NAME=from-file\n")
        self.assertEqual(dict(os.environ), before)

    def test_unknown_names(self) -> None:
        """A name that looks like one of ours is a warning with the nearest known name."""
        found = self.load(b"WS_HEARTBEAT_INTERVAL=3\nDB_PASWORD=x\nserver_port=1\nWS_QQ=1\n")
        self.assertEqual(len(found.warnings), 4)
        for warning, names in zip(
            found.warnings,
            (
                ("WS_HEARTBEAT_INTERVAL ", "WS_HEARTBEAT_INTERVAL_SECS?"),
                ("DB_PASWORD ", "DB_PASSWORD?"),
                ("server_port ", "SERVER_PORT?"),
                ("WS_QQ ", "not a variable of x121"),
            ),
            strict=True,
        ):
            for name in names:
                self.assertIn(name, warning)

    def test_colour(self) -> None:
        """A terminal may have colours, unless its user says NO_COLOR or it is a dumb one.

        Both are asked of the environment alone: they are no configuration of the server.
        """
        for environ, colour in (
            ({}, True),
            ({"NO_COLOR": ""}, True),
            ({"NO_COLOR": "0"}, False),
            ({"TERM": "xterm"}, True),
            ({"TERM": "dumb"}, False),
        ):
            self.assertIs(load(environ, os.devnull).colour, colour)
        self.assertIs(self.load(b"NO_COLOR=1\nTERM=dumb\n").colour, True)

    def test_names_of_others(self) -> None:
        """Other programs' variables in the file are none of our business."""
        self.assertEqual(self.load(b"PATH=/bin\nVITE_API_URL=x\n").warnings, ())

    @unlimited
    @given(st.binary(max_size=200) | st.text("DB_NAME=x'\"\\\n\r\0# $\ufeff").map(str.encode))
    def test_any_bytes(self, content: bytes) -> None:
        """Any file is read or refused in printable lines."""
        try:
            found: Any = self.load(content)
        except ConfigError as error:
            lines = str(error).split("\n")
        else:
            lines = list(found.warnings)
        for line in lines:
            self.assertTrue(line.isprintable(), ascii(line))
