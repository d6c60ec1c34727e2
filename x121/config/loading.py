"""Configuration: declares every variable, and is the only code that reads the environment.

:func:`load` reads the environment and the ``.env`` file below it, and returns a frozen
:class:`AppConfig`, or raises one :class:`ConfigError` that lists everything wrong. A variable is
one field below: its name, default, parser and meaning are in one place. ``x121 check``, the error
messages and the test of ``.env.example`` use these declarations.
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

from x121.config import parsers
from x121.core.types import IpNetwork, ServerName
from x121.logs import LogLevels

__all__ = [
    "APP",
    "AppConfig",
    "ConfigError",
    "DbConfig",
    "Environment",
    "LoadedConfig",
    "ServerConfig",
    "Setting",
    "Variable",
    "WsConfig",
    "load",
    "setting",
    "variables",
]

T = TypeVar("T")
Source = Literal["environment", ".env", "default"]

ENV_FILE = ".env"
APP = "X121_APP"
_MAX_ENV_FILE_BYTES = 1 << 20


class ConfigError(Exception):
    """Raised when the configuration is wrong; the text names every wrong variable, one per line.

    ``log_format`` is the configured one, if it is valid.
    """

    def __init__(self, problems: Iterable[str], log_format: str) -> None:
        super().__init__("wrong configuration:\n" + "\n".join(f"  {line}" for line in problems))
        self.log_format = log_format


# --- the variables ------------------------------------------------------------------------


def setting(
    name: str,
    default: str,
    parse: Callable[[str], T],
    meaning: str,
    *,
    secret: bool = False,
    falls_back_to: str = "",
) -> T:
    """Declare a field of a frozen dataclass as the environment variable ``name``.

    ``default`` is text, as in ``.env``, and is parsed like any other value. ``parse`` returns the
    value, or raises :class:`ValueError` with what is expected (:mod:`x121.config.parsers` has the
    usual parsers). The value of a ``secret`` is never shown. A variable that isn't set has the
    value of the variable ``falls_back_to``, if that is given.

    The declared return type is the field's; the actual value is a declaration, as with
    :func:`dataclasses.field`.
    """
    metadata = {"variable": Variable(name, default, parse, meaning, secret, falls_back_to)}
    return field(metadata=metadata, repr=not secret)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Variable:
    """Environment variable: ``parse`` converts its text into the field's value.

    If it isn't set, it has its ``default``, or the value of the variable it falls back to.
    """

    name: str
    default: str
    parse: Callable[[str], Any]
    meaning: str
    secret: bool
    falls_back_to: str


@dataclass(frozen=True, kw_only=True)
class DbConfig:
    """PostgreSQL server to use, and how.  An empty ``host`` means the embedded one."""

    host: str = setting("DB_HOST", "", parsers.db_host, "empty: run the embedded PostgreSQL")
    port: int = setting("DB_PORT", "5432", parsers.integer(1, 65535), "TCP port")
    name: str = setting("DB_NAME", "trulience_x121", parsers.text, "database")
    user: str = setting("DB_USER", "x121", parsers.text, "role")
    password: str = setting("DB_PASSWORD", "", parsers.text, "its password", secret=True)
    ssl: bool = setting("DB_SSL", "false", parsers.boolean, "true: sslmode=require")
    ssl_mode: str = setting(
        "DB_SSLMODE",
        "prefer",
        parsers.one_of("disable", "prefer", "require", "verify-ca", "verify-full"),
        "required level of TLS, as in libpq",
    )
    ssl_root_cert: str = setting(
        "DB_SSL_ROOT_CERT",
        "",
        parsers.certificate_file,
        "certificates that verify-* trusts, in PEM",
    )
    require_auth: str = setting(
        "DB_REQUIRE_AUTH",
        "scram-sha-256,none",
        parsers.auth_methods,
        "ways the server may ask for the password",
    )
    target_session_attrs: str = setting(
        "DB_TARGET_SESSION_ATTRS",
        "read-write",
        parsers.one_of("read-write", "any"),
        "any: also a read-only server",
    )
    data_dir: Path = setting(
        "DB_DATA_DIR", "var/postgres", parsers.path, "data folder of the embedded PostgreSQL"
    )
    pool_min: int = setting("DB_POOL_MIN", "2", parsers.integer(0, 1000), "connections kept open")
    pool_max: int = setting("DB_POOL_MAX", "10", parsers.integer(1, 1000), "connections at most")
    connect_timeout_secs: float = setting(
        "DB_CONNECT_TIMEOUT_SECS", "10", parsers.seconds, "how long startup waits for the database"
    )
    acquire_timeout_secs: float = setting(
        "DB_ACQUIRE_TIMEOUT_SECS", "5", parsers.seconds, "how long a request waits for a connection"
    )
    migration_wait_secs: float = setting(
        "DB_MIGRATION_WAIT_SECS",
        "600",
        parsers.seconds,
        "how long startup waits for another's migrations",
    )


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """HTTP and logging settings."""

    host: str = setting("SERVER_HOST", "0.0.0.0", parsers.host, "address to listen on")
    port: int = setting(
        "SERVER_PORT", "3000", parsers.integer(0, 65535), "TCP port; 0: any free one"
    )
    cors_origins: tuple[str, ...] = setting(
        "CORS_ORIGINS",
        "http://localhost:5173",
        parsers.origins,
        "origins of pages that may send requests",
    )
    server_names: tuple[ServerName, ...] = setting(
        "SERVER_NAMES", "", parsers.server_names, "allowed names in Host; empty: any"
    )
    request_timeout_secs: float = setting(
        "REQUEST_TIMEOUT_SECS", "30", parsers.seconds, "timeout of a request"
    )
    shutdown_timeout_secs: float = setting(
        "SHUTDOWN_TIMEOUT_SECS", "30", parsers.seconds, "timeout of a shutdown"
    )
    max_body_bytes: int = setting(
        "MAX_BODY_BYTES", "2097152", parsers.integer(0, 1 << 40), "maximum size of a request body"
    )
    max_json_bytes: int = setting(
        "MAX_JSON_BYTES",
        "1048576",
        parsers.integer(0, 1 << 31),
        "maximum size of a JSON body",
    )
    max_json_values: int = setting(
        "MAX_JSON_VALUES", "10000", parsers.integer(1, 1 << 31), "maximum number of values in JSON"
    )
    header_timeout_secs: float = setting(
        "HEADER_TIMEOUT_SECS", "10", parsers.seconds, "timeout of a request's head"
    )
    min_send_bytes_per_sec: int = setting(
        "MIN_SEND_BYTES_PER_SEC",
        "2048",
        parsers.integer(0, 1 << 30),
        "minimum rate of a client; 0: none",
    )
    keepalive_timeout_secs: float = setting(
        "KEEPALIVE_TIMEOUT_SECS", "75", parsers.seconds, "how long an idle connection is kept"
    )
    trusted_proxies: tuple[IpNetwork, ...] = setting(
        "TRUSTED_PROXIES", "", parsers.networks, "proxies whose X-Forwarded-* is trusted"
    )
    log_level: LogLevels = setting(
        "LOG_LEVEL", "info", LogLevels.parse, "debug, info, warn or error; also per logger"
    )
    log_format: str = setting(
        "LOG_FORMAT", "auto", parsers.one_of("auto", "json", "console"), "format of the log's lines"
    )
    api_docs: bool = setting(
        "API_DOCS", "true", parsers.boolean, "false: no /docs, /openapi.json and /asyncapi.json"
    )
    diagnostics: bool = setting(
        "DIAGNOSTICS", "false", parsers.boolean, "true: mount /console and /ws/echo"
    )
    diagnostics_token: str = setting(
        "DIAGNOSTICS_TOKEN",
        "",
        parsers.token,
        "gives access to /console, from anywhere",
        secret=True,
    )
    fast_reactor: bool = setting(
        "X121_REACTOR", "fast", parsers.fast_or_stock, "stock: Twisted's own reactor, not uvloop's"
    )
    fast_http: bool = setting(
        "X121_HTTP", "fast", parsers.fast_or_stock, "stock: Twisted's parser and Request for all"
    )
    application: str = setting(
        APP, "x121.app:application", parsers.object_path, "application to serve: package:name"
    )


@dataclass(frozen=True, kw_only=True)
class WsConfig:
    """WebSocket settings."""

    heartbeat_interval_secs: float = setting(
        "WS_HEARTBEAT_INTERVAL_SECS", "30", parsers.seconds, "time between pings"
    )
    pong_timeout_secs: float = setting(
        "WS_PONG_TIMEOUT_SECS", "10", parsers.seconds, "timeout of a pong"
    )
    max_message_bytes: int = setting(
        "WS_MAX_MESSAGE_BYTES", "1048576", parsers.integer(1, 1 << 31), "maximum size of a message"
    )
    send_buffer_bytes: int = setting(
        "WS_SEND_BUFFER_BYTES",
        "1048576",
        parsers.integer(1, 1 << 31),
        "maximum unsent data per connection",
    )
    allowed_origins: tuple[str, ...] = setting(
        "WS_ALLOWED_ORIGINS",
        "",
        parsers.origins,
        "origins of pages that may connect",
        falls_back_to="CORS_ORIGINS",
    )
    fast_frames: bool = setting(
        "X121_WEBSOCKET", "fast", parsers.fast_or_stock, "stock: Autobahn parses every frame"
    )


@dataclass(frozen=True, kw_only=True)
class AppConfig:
    """Complete configuration; ``settings`` are the application's, by type."""

    db: DbConfig
    server: ServerConfig
    ws: WsConfig
    settings: Mapping[type, Any] = field(default_factory=dict)


_SECTIONS: dict[str, type[Any]] = {"db": DbConfig, "server": ServerConfig, "ws": WsConfig}


def variables(settings: Iterable[type[Any]] = ()) -> list[Variable]:
    """Return all variables in order of declaration: the framework's, then those of ``settings``."""
    return [f.metadata["variable"] for kind in _declared(settings) for f in _fields(kind)]


def _declared(settings: Iterable[type[Any]]) -> list[type[Any]]:
    return [*_SECTIONS.values(), *settings]


def _fields(kind: type[Any]) -> list[dataclasses.Field[Any]]:
    """Return the fields of a declaration.

    Raises :class:`TypeError` if the class doesn't declare settings.
    """
    is_frozen = dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    fields = dataclasses.fields(kind) if is_frozen else ()
    if not is_frozen or not all("variable" in member.metadata for member in fields):
        raise TypeError(
            f"{kind.__name__} doesn't declare settings: expected a frozen dataclass whose fields"
            " are all x121.config.setting(...)"
        )
    return list(fields)


# --- reading ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """Variable in force: its text, hidden if secret, and its source."""

    name: str
    display_value: str
    source: Source


@dataclass(frozen=True)
class LoadedConfig:
    """Result of :func:`load`: the configuration, each setting's source, and warnings.

    ``colour`` is true if the terminal supports colours and the user allows them.
    """

    config: AppConfig
    settings: tuple[Setting, ...]
    warnings: tuple[str, ...]
    colour: bool


class Environment:
    """Texts of all variables: ``environ`` takes precedence over the ``.env`` file.

    ``env_file`` names another file, which must then exist; without it, ``.env`` in the working
    directory is read if it exists. An empty value means the default: an empty one in ``environ``
    hides the file's.
    """

    def __init__(self, environ: Mapping[str, str], env_file: str | None = None) -> None:
        self._environ = environ
        self._file_values, self._problems = _read_env_file(env_file)

    def text(self, name: str, defaults: Mapping[str, str] | None = None) -> str:
        """Return the text of one of the framework's variables; it may be invalid."""
        variable = _with_default(_find(name, variables()), defaults or {})
        return _look_up(variable, self._environ, self._file_values)[0]

    def load(
        self,
        settings: Iterable[type[Any]] = (),
        defaults: Mapping[str, str] | None = None,
        problems: Iterable[str] = (),
    ) -> LoadedConfig:
        """Return the configuration, with the application's ``settings``.

        ``defaults`` replace those of variables, by name. Raises :class:`ConfigError`, whose text
        lists everything wrong, including ``problems``, and never a secret. Raises
        :class:`TypeError` for settings that aren't declared as such, or are declared twice.
        """
        reader = _Reader(self._environ, self._file_values, settings, defaults or {})
        reader.problems = [*self._problems, *problems]
        sections = {name: reader.read(kind) for name, kind in _SECTIONS.items()}
        own = {kind: reader.read(kind) for kind in settings}
        reader.problems += _contradictions(sections)
        if reader.problems:
            log_format = {s.name: s.display_value for s in reader.settings}["LOG_FORMAT"].lower()
            # A wrong variable makes those that fall back to it wrong too; it is reported once.
            raise ConfigError(dict.fromkeys(reader.problems), log_format)
        return LoadedConfig(
            AppConfig(**sections, settings=own),
            tuple(reader.settings),
            tuple(_unknown_names(self._file_values, reader.variables)),
            _may_colour(self._environ),
        )


class _Reader:
    """Parses texts into sections; ``settings`` and ``problems`` collect the results so far."""

    def __init__(
        self,
        environ: Mapping[str, str],
        file_values: Mapping[str, str],
        settings: Iterable[type[Any]],
        defaults: Mapping[str, str],
    ) -> None:
        self.variables = [_with_default(variable, defaults) for variable in variables(settings)]
        names = [variable.name for variable in self.variables]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise TypeError(f"{', '.join(twice)}: the same variable is declared twice")
        self.settings: list[Setting] = []
        self.problems: list[str] = []
        self._environ = environ
        self._file_values = file_values

    def read(self, kind: type[Any]) -> Any:
        """Return an instance of ``kind``, or None if something is wrong with it."""
        values: dict[str, Any] = {}
        fields = _fields(kind)
        for member in fields:
            variable = _find(member.metadata["variable"].name, self.variables)
            raw, source, name = _look_up(variable, self._environ, self._file_values, self.variables)
            display_value = "(hidden)" if variable.secret and raw else raw
            self.settings.append(Setting(variable.name, display_value, source))
            try:
                values[member.name] = variable.parse(raw)
            except ValueError as error:
                self.problems.append(
                    f"{name}={parsers.printable(display_value)} ({source}): expected {error}"
                )
        return kind(**values) if len(values) == len(fields) else None


def _with_default(variable: Variable, defaults: Mapping[str, str]) -> Variable:
    return dataclasses.replace(variable, default=defaults.get(variable.name, variable.default))


def _find(name: str, among: Iterable[Variable]) -> Variable:
    return next(variable for variable in among if variable.name == name)


def load(
    environ: Mapping[str, str], env_file: str | None = None, settings: Iterable[type[Any]] = ()
) -> LoadedConfig:
    """Return the result of :meth:`Environment.load` for ``environ`` and ``env_file``."""
    return Environment(environ, env_file).load(settings)


def _may_colour(environ: Mapping[str, str]) -> bool:
    """Return True if the terminal supports colours and the user allows them.

    ``NO_COLOR`` is https://no-color.org's; a ``dumb`` terminal would show the escape codes.
    """
    return not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _look_up(
    variable: Variable,
    environ: Mapping[str, str],
    file_values: Mapping[str, str],
    among: Iterable[Variable] = (),
) -> tuple[str, Source, str]:
    """Return the variable's text, its source, and the name it has there."""
    name = variable.name
    if environ.get(name):
        return environ[name], "environment", name
    if file_values.get(name) and name not in environ:
        return file_values[name], ".env", name
    if variable.falls_back_to:
        other = _find(variable.falls_back_to, among or variables())
        return _look_up(other, environ, file_values, among)
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
    """Return the file's values, and the problems with the file."""
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
            # The line's text may contain a secret, so only its number is shown.
            problems.append(f"{path}, line {binding.original.line}: expected NAME=value")
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    return values, problems


def _unknown_names(file_values: Mapping[str, str], declared: Iterable[Variable]) -> Iterable[str]:
    """Yield a warning for each name that looks like a variable of x121 but isn't one."""
    known = [variable.name for variable in declared]
    families = {name.split("_")[0] for name in known}
    for name in file_values:
        if name in known:
            continue
        nearest = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.75)
        if nearest or name.split("_")[0] in families:
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            yield f"{parsers.printable(name)} in .env is not a variable of x121{hint}"
