"""The configuration: every variable, declared once, and the only reader of the environment.

:func:`load` reads the environment over a ``.env`` file and returns a frozen
:class:`AppConfig`, or raises one :class:`ConfigError` that lists everything wrong.  A
variable is one field below: its name, default, parser and meaning stand side by side, and
``x121 check``, the messages and the test of ``.env.example`` are made from them.
"""

from __future__ import annotations

import dataclasses
import difflib
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from dotenv.parser import parse_stream

from x121 import _parsers as to
from x121.logs import LogLevels
from x121.types import IpNetwork, ServerName

__all__ = [
    "AppConfig",
    "ConfigError",
    "DbConfig",
    "Loaded",
    "ServerConfig",
    "Setting",
    "Variable",
    "WsConfig",
    "load",
    "variables",
]

T = TypeVar("T")
Source = Literal["environment", ".env", "default"]

ENV_FILE = ".env"
_MAX_ENV_FILE_BYTES = 1 << 20


class ConfigError(Exception):
    """The configuration is wrong; the text names every wrong variable, one a line.

    ``log_format`` is the one asked for, as far as that is known.
    """

    def __init__(self, problems: Iterable[str], log_format: str) -> None:
        super().__init__("wrong configuration:\n" + "\n".join(f"  {line}" for line in problems))
        self.log_format = log_format


# --- the variables ------------------------------------------------------------------------


def _variable(
    name: str,
    default: str,
    parse: Callable[[str], T],
    meaning: str,
    *,
    secret: bool = False,
    falls_back_to: str = "",
) -> T:
    """Declare a field as the environment variable ``name``.

    ``default`` is text, as it would stand in ``.env``, and goes through ``parse`` like any
    other value.  The declared return type is what the field holds; the value is the field's
    declaration, as with :func:`dataclasses.field`.
    """
    metadata = {"variable": Variable(name, default, parse, meaning, secret, falls_back_to)}
    return field(metadata=metadata, repr=not secret)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Variable:
    """One environment variable: ``parse`` turns its text into the field's value.

    One that isn't set has its ``default``, or the value of the variable it falls back to.
    """

    name: str
    default: str
    parse: Callable[[str], Any]
    meaning: str
    secret: bool
    falls_back_to: str


@dataclass(frozen=True, kw_only=True)
class DbConfig:
    """Which PostgreSQL to use and how.  An empty ``host`` means the embedded one."""

    host: str = _variable("DB_HOST", "", to.db_host, "empty: run the embedded PostgreSQL")
    port: int = _variable("DB_PORT", "5432", to.integer(1, 65535), "TCP port")
    name: str = _variable("DB_NAME", "trulience_x121", to.text, "database")
    user: str = _variable("DB_USER", "x121", to.text, "role")
    password: str = _variable("DB_PASSWORD", "", to.text, "its password", secret=True)
    ssl: bool = _variable("DB_SSL", "false", to.boolean, "true: sslmode=require")
    ssl_mode: str = _variable(
        "DB_SSLMODE",
        "prefer",
        to.one_of("disable", "prefer", "require", "verify-ca", "verify-full"),
        "how much TLS is required, as libpq means it",
    )
    ssl_root_cert: str = _variable(
        "DB_SSL_ROOT_CERT", "", to.certificate_file, "certificates that verify-* trusts, in PEM"
    )
    require_auth: str = _variable(
        "DB_REQUIRE_AUTH",
        "scram-sha-256,none",
        to.auth_methods,
        "how the server may ask for the password",
    )
    target_session_attrs: str = _variable(
        "DB_TARGET_SESSION_ATTRS",
        "read-write",
        to.one_of("read-write", "any"),
        "any: also a server that is read-only",
    )
    data_dir: Path = _variable(
        "DB_DATA_DIR", "var/postgres", to.path, "folder of the embedded PostgreSQL"
    )
    pool_min: int = _variable("DB_POOL_MIN", "2", to.integer(0, 1000), "connections kept open")
    pool_max: int = _variable("DB_POOL_MAX", "10", to.integer(1, 1000), "connections at most")
    connect_timeout_secs: float = _variable(
        "DB_CONNECT_TIMEOUT_SECS", "10", to.seconds, "how long start waits for the database"
    )
    acquire_timeout_secs: float = _variable(
        "DB_ACQUIRE_TIMEOUT_SECS", "5", to.seconds, "how long a request waits for a connection"
    )
    migration_wait_secs: float = _variable(
        "DB_MIGRATION_WAIT_SECS", "600", to.seconds, "how long start waits for another's migrations"
    )


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """How HTTP is served, and what is logged."""

    host: str = _variable("SERVER_HOST", "0.0.0.0", to.host, "address to listen on")
    port: int = _variable("SERVER_PORT", "3000", to.integer(0, 65535), "TCP port; 0: any free one")
    cors_origins: tuple[str, ...] = _variable(
        "CORS_ORIGINS", "http://localhost:5173", to.origins, "pages that may call from a browser"
    )
    server_names: tuple[ServerName, ...] = _variable(
        "SERVER_NAMES", "", to.server_names, "names that Host may have; empty: any"
    )
    request_timeout_secs: float = _variable(
        "REQUEST_TIMEOUT_SECS", "30", to.seconds, "how long a request may take"
    )
    shutdown_timeout_secs: float = _variable(
        "SHUTDOWN_TIMEOUT_SECS", "30", to.seconds, "how long a stop may take"
    )
    max_body_bytes: int = _variable(
        "MAX_BODY_BYTES", "2097152", to.integer(0, 1 << 40), "size of a request body"
    )
    max_json_bytes: int = _variable(
        "MAX_JSON_BYTES", "1048576", to.integer(0, 1 << 31), "size of a JSON body that is decoded"
    )
    max_json_values: int = _variable(
        "MAX_JSON_VALUES", "10000", to.integer(1, 1 << 31), "values in a JSON body or message"
    )
    header_timeout_secs: float = _variable(
        "HEADER_TIMEOUT_SECS", "10", to.seconds, "how long a request's head may take to arrive"
    )
    min_send_bytes_per_sec: int = _variable(
        "MIN_SEND_BYTES_PER_SEC", "2048", to.integer(0, 1 << 30), "least rate of a reader; 0: any"
    )
    keepalive_timeout_secs: float = _variable(
        "KEEPALIVE_TIMEOUT_SECS", "75", to.seconds, "how long an idle connection is kept"
    )
    trusted_proxies: tuple[IpNetwork, ...] = _variable(
        "TRUSTED_PROXIES", "", to.networks, "proxies whose X-Forwarded-* are believed"
    )
    log_level: LogLevels = _variable(
        "LOG_LEVEL", "info", LogLevels.parse, "debug, info, warn or error, also per part"
    )
    log_format: str = _variable(
        "LOG_FORMAT", "auto", to.one_of("auto", "json", "console"), "form of the log's lines"
    )
    api_docs: bool = _variable(
        "API_DOCS", "true", to.boolean, "false: no /docs, /openapi.json and /asyncapi.json"
    )
    diagnostics: bool = _variable(
        "DIAGNOSTICS", "false", to.boolean, "true: mount /console and /ws/echo"
    )
    diagnostics_token: str = _variable(
        "DIAGNOSTICS_TOKEN", "", to.token, "who has it may see /console, from anywhere", secret=True
    )
    fast_reactor: bool = _variable(
        "X121_REACTOR", "fast", to.fast_or_stock, "stock: Twisted's own reactor, not uvloop's"
    )
    fast_http: bool = _variable(
        "X121_HTTP", "fast", to.fast_or_stock, "stock: Twisted's parser reads every request"
    )


@dataclass(frozen=True, kw_only=True)
class WsConfig:
    """How WebSockets are served."""

    heartbeat_interval_secs: float = _variable(
        "WS_HEARTBEAT_INTERVAL_SECS", "30", to.seconds, "time between pings"
    )
    pong_timeout_secs: float = _variable(
        "WS_PONG_TIMEOUT_SECS", "10", to.seconds, "how long an answer to a ping may take"
    )
    max_message_bytes: int = _variable(
        "WS_MAX_MESSAGE_BYTES", "1048576", to.integer(1, 1 << 31), "size of a message"
    )
    send_buffer_bytes: int = _variable(
        "WS_SEND_BUFFER_BYTES", "1048576", to.integer(1, 1 << 31), "waiting per connection"
    )
    allowed_origins: tuple[str, ...] = _variable(
        "WS_ALLOWED_ORIGINS", "", to.origins, "pages that may connect", falls_back_to="CORS_ORIGINS"
    )
    fast_lane: bool = _variable(
        "X121_WEBSOCKET", "fast", to.fast_or_stock, "stock: Autobahn takes every frame apart"
    )


@dataclass(frozen=True, kw_only=True)
class AppConfig:
    """Everything that is configured."""

    db: DbConfig
    server: ServerConfig
    ws: WsConfig


_SECTIONS: dict[str, type[Any]] = {"db": DbConfig, "server": ServerConfig, "ws": WsConfig}


def variables() -> list[Variable]:
    """Return every variable, in the order of the declarations."""
    return [f.metadata["variable"] for kind in _SECTIONS.values() for f in dataclasses.fields(kind)]


# --- reading ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """A variable in force: its text, hidden where it is secret, and where it came from."""

    name: str
    shown: str
    source: Source


@dataclass(frozen=True)
class Loaded:
    """What :func:`load` found: the configuration, each setting's source, and warnings.

    ``colour`` says whether a terminal may be sent colours.
    """

    config: AppConfig
    settings: tuple[Setting, ...]
    warnings: tuple[str, ...]
    colour: bool


def load(environ: Mapping[str, str], env_file: str | None = None) -> Loaded:
    """Return the configuration that ``environ`` over the ``.env`` file gives.

    ``env_file`` names another file, which must then exist; without it ``.env`` in the
    working directory is read if it is there.  An empty value means the default: one in
    ``environ`` hides the file's.  Raises
    :class:`ConfigError`, whose text lists everything that is wrong and never a secret.
    """
    file_values, problems = _read_env_file(env_file)
    settings: list[Setting] = []
    sections: dict[str, Any] = {}
    for section, kind in _SECTIONS.items():
        values: dict[str, Any] = {}
        for member in dataclasses.fields(kind):
            variable: Variable = member.metadata["variable"]
            raw, source, name = _look_up(variable, environ, file_values)
            shown = "(hidden)" if variable.secret and raw else raw
            settings.append(Setting(variable.name, shown, source))
            try:
                values[member.name] = variable.parse(raw)
            except ValueError as error:
                problems.append(f"{name}={to.printable(shown)} ({source}): expected {error}")
        if len(values) == len(dataclasses.fields(kind)):
            sections[section] = kind(**values)
    problems += _contradictions(sections)
    if problems:
        log_format = {s.name: s.shown for s in settings}["LOG_FORMAT"].lower()
        # What is wrong with a variable is wrong with those that fall back to it, and said once.
        raise ConfigError(dict.fromkeys(problems), log_format)
    return Loaded(
        AppConfig(**sections),
        tuple(settings),
        tuple(_unknown_names(file_values)),
        _may_colour(environ),
    )


def _may_colour(environ: Mapping[str, str]) -> bool:
    """Return what the terminal and its user say, which is no configuration of ours.

    ``NO_COLOR`` is https://no-color.org's; a terminal that is ``dumb`` would show the codes.
    """
    return not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _look_up(
    variable: Variable, environ: Mapping[str, str], file_values: Mapping[str, str]
) -> tuple[str, Source, str]:
    """Return the variable's text, where that came from, and the name it has there."""
    name = variable.name
    if environ.get(name):
        return environ[name], "environment", name
    if file_values.get(name) and name not in environ:
        return file_values[name], ".env", name
    if variable.falls_back_to:
        other = next(v for v in variables() if v.name == variable.falls_back_to)
        return _look_up(other, environ, file_values)
    return variable.default, "default", name


def _contradictions(sections: Mapping[str, Any]) -> Iterable[str]:
    db = sections.get("db")
    if db is not None and db.pool_min > db.pool_max:
        yield f"DB_POOL_MIN={db.pool_min}: expected at most DB_POOL_MAX, which is {db.pool_max}"
    if db is not None:
        yield from _tls_contradictions(db)


def _tls_contradictions(db: DbConfig) -> Iterable[str]:
    mode, verified = db.ssl_mode, db.ssl_mode.startswith("verify-")
    if db.ssl and mode == "disable":
        yield "DB_SSLMODE=disable: expected require or stricter, because DB_SSL is true"
    if verified and not db.ssl_root_cert:
        yield f"DB_SSLMODE={mode}: expected DB_SSL_ROOT_CERT to name the certificates to trust"
    if db.ssl_root_cert and not verified:
        yield f"DB_SSLMODE={mode}: expected verify-ca or verify-full with DB_SSL_ROOT_CERT"


def _read_env_file(env_file: str | None) -> tuple[dict[str, str], list[str]]:
    """Return the file's values, and what is wrong with the file."""
    path = Path(env_file or ENV_FILE)
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_ENV_FILE_BYTES + 1)
        if len(data) > _MAX_ENV_FILE_BYTES:
            return {}, [f"{path}: expected at most {_MAX_ENV_FILE_BYTES} bytes"]
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        return {}, [f"{path}: there is no such file"] if env_file else []
    except OSError as error:
        return {}, [f"{path}: cannot be read: {error.strerror}"]
    except UnicodeDecodeError:
        return {}, [f"{path}: expected UTF-8 text"]
    values: dict[str, str] = {}
    problems = []
    for binding in parse_stream(io.StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            # The line's text may hold a secret: its number has to do.
            problems.append(f"{path}, line {binding.original.line}: expected NAME=value")
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    return values, problems


def _unknown_names(file_values: Mapping[str, str]) -> Iterable[str]:
    """Yield a warning for each name that looks like one of ours and is none."""
    known = [variable.name for variable in variables()]
    families = {name.split("_")[0] for name in known}
    for name in file_values:
        if name in known:
            continue
        nearest = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.75)
        if nearest or name.split("_")[0] in families:
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            yield f"{to.printable(name)} in .env is not a variable of x121{hint}"
