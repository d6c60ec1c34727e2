"""Interface between the framework and an application: ``Application``, ``Feature``, ``AppState``.

An application is one object, and one line adds a feature to it::

    application = Application("studio", title="Studio", settings=StudioSettings)
    application.nest("/boards", Boards)

The framework builds each feature once, with the :class:`AppState` of the process, and serves the
instance's routes, messages, readiness checks and commands.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from inspect import isfunction
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from klein import Klein
from twisted.application.service import IService, MultiService
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource

from x121.config import AppConfig
from x121.core.periodic import PeriodicTask
from x121.core.types import IReactor
from x121.db.migrations import Migration, framework_migrations, read_migrations
from x121.db.pool import Pool
from x121.messaging.handlers import Handlers
from x121.ws.handshake import Authenticate
from x121.ws.manager import WsManager

if TYPE_CHECKING:
    from x121.ws.protocol import Endpoint

__all__ = [
    "API_PREFIX",
    "AppState",
    "Application",
    "Check",
    "Feature",
    "Lifecycle",
    "MakeMiddleware",
    "MissingProviderError",
    "Mount",
    "Stage",
    "command",
    "commands_of",
]

API_PREFIX = "/api/v1"

T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., Any])

MakeMiddleware = Callable[[IResource, "AppState"], IResource]
"""Returns a resource that calls the given one."""

_COMMAND = "_x121_command"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class Stage(enum.Enum):
    """Stages of the server, as ``/health/ready`` names them."""

    STARTING = "starting"
    SERVING = "ok"
    DRAINING = "draining"


@dataclass
class Lifecycle:
    """The server's stage.  It serves from the end of the migrations until the first signal.

    ``connections`` returns the number of open HTTP connections, None before the server listens.
    """

    stage: Stage = Stage.STARTING
    connections: Callable[[], int | None] = lambda: None


class MissingProviderError(LookupError):
    """A feature needs an object of a type that the application doesn't provide."""


@dataclass(frozen=True)
class AppState:
    """Shared objects of a process, for every feature.

    ``clock`` is for timers; in tests it stands still until they advance it.  ``now()`` is the wall
    clock's time in seconds since the epoch, for times that are shown or stored.  ``reactor`` is for
    sockets, processes and threads.
    """

    pool: Pool
    config: AppConfig
    ws_manager: WsManager
    _: KW_ONLY
    clock: IReactorTime
    now: Callable[[], float]
    reactor: IReactor
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    services: MultiService = field(default_factory=MultiService)
    """Services of features: started before the server listens, stopped before the pool closes."""
    mounts: list[Mount] = field(default_factory=list)
    """The application's features, built; see :meth:`Application.build`."""
    providers: Mapping[type, Callable[[AppState], object]] = field(default_factory=dict)
    _provided: dict[type, object] = field(default_factory=dict)

    def settings(self, kind: type[T]) -> T:
        """Return the settings that the application or a feature declares as ``kind``.

        Raises :class:`LookupError` for a type that isn't declared.
        """
        try:
            return cast(T, self.config.settings[kind])
        except KeyError:
            raise LookupError(
                f"{kind.__name__} is not declared: pass settings={kind.__name__} to Application,"
                f" or set it as a feature's attribute settings"
            ) from None

    def get(self, kind: type[T]) -> T:
        """Return the shared object of a type, created at the first call.

        See :meth:`Application.provide`.  Raises :class:`MissingProviderError`.
        """
        if kind not in self._provided:
            if kind not in self.providers:
                raise MissingProviderError(
                    f"{kind.__name__} has no provider:"
                    f" add application.provide({kind.__name__}, make_it)"
                )
            provided = self.providers[kind](self)
            self._provided[kind] = provided
            if IService.providedBy(provided):
                provided.setServiceParent(self.services)
        return cast(T, self._provided[kind])

    def every(self, seconds: float, call: Callable[[], object]) -> None:
        """Call ``call`` every ``seconds`` while the server runs.

        ``call`` may return an awaitable.  Calls never overlap: one that takes longer than
        ``seconds`` delays the next.  An exception is logged, and the calls continue.  Shutdown
        cancels the current call.
        """
        PeriodicTask(seconds, call, clock=self.clock).setServiceParent(self.services)


@dataclass(frozen=True)
class Check:
    """A readiness check: ``/health/ready`` is 503 while ``call`` raises or exceeds its timeout.

    ``call`` may return an awaitable.
    """

    name: str
    call: Callable[[], Awaitable[object] | object]
    timeout_secs: float = 1.0


class Feature:
    """Base class of features.

    A subclass sets the attributes that it needs.  ``router`` and ``messages`` are class attributes.
    ``checks``, whose calls are methods, are set on the instance.  ``settings`` is a frozen
    dataclass of :func:`x121.config.setting` fields.  ``authenticate`` is a method that returns the
    user id of a WebSocket handshake, or an awaitable of it; only one feature may have it.
    ``endpoints`` are WebSocket endpoints without JSON messages, by their paths below ``/ws``.
    Methods decorated with :func:`command` are commands of the program ``x121``.
    """

    router: Klein | None = None
    messages: Handlers | None = None
    settings: ClassVar[type[Any] | None] = None
    checks: Sequence[Check] = ()
    authenticate: Authenticate | None = None
    endpoints: Mapping[str, Endpoint] = MappingProxyType({})

    def __init__(self, state: AppState) -> None:
        self.state = state


@dataclass(frozen=True)
class Mount:
    """A feature's instance, and the prefix of its routes."""

    prefix: str
    feature: Feature


class Application:
    """An application built on x121: its name, its features, and their shared objects.

    ``name`` is a lower-case identifier.  ``database`` is the default of ``DB_NAME``; if empty,
    ``name`` is.  ``title`` and ``version`` are shown in the API's documents and on the console.
    ``settings`` is a frozen dataclass, like a feature's.  ``migrations`` is the package or the
    folder of the SQL files.  Besides the usual headers, pages of allowed origins may send
    ``cors_request_headers`` and read ``cors_response_headers``.  ``middleware`` is applied inside
    access log, CORS and errors, the first one outermost.

    Raises :class:`ValueError` for an invalid name.
    """

    def __init__(
        self,
        name: str,
        *,
        title: str = "",
        version: str = "",
        database: str = "",
        settings: type[Any] | None = None,
        migrations: str | Path = "",
        cors_request_headers: Sequence[str] = (),
        cors_response_headers: Sequence[str] = (),
        middleware: Sequence[MakeMiddleware] = (),
    ) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"invalid application name {name!r}: expected a lower-case letter, then letters,"
                " digits or underscores, such as 'studio'"
            )
        self.name = name
        self.title = title or name
        self.version = version
        self.database = database or name
        self._migrations = migrations
        self.cors_request_headers = tuple(cors_request_headers)
        self.cors_response_headers = tuple(cors_response_headers)
        self.middleware = tuple(middleware)
        self._settings = settings
        self._features: list[tuple[str, type[Feature]]] = []
        self._providers: dict[type, Callable[[AppState], object]] = {}

    def nest(self, prefix: str, feature: type[Feature], *, below: str = API_PREFIX) -> Application:
        """Add a feature, serve its routes at ``below`` + ``prefix``, and return ``self``.

        Several features may share a prefix.  Raises :class:`TypeError` for an instance, or for a
        class that isn't a :class:`Feature`, and :class:`ValueError` for a prefix that isn't a path.
        """
        _check_feature(prefix, feature)
        path = below + prefix
        if not path.startswith("/") or path.endswith("/"):
            raise ValueError(f"invalid prefix {path!r}: expected a path such as /projects")
        self._features.append((path, feature))
        return self

    def provide(self, kind: type[T], make: Callable[[AppState], T]) -> Application:
        """Provide a shared object of type ``kind``, made by ``make(state)``, and return ``self``.

        It is created at the first ``state.get(kind)`` of a feature.  A Twisted service is started
        and stopped with the features' services.  Raises :class:`ValueError` for a second provider
        of the type.
        """
        if kind in self._providers:
            raise ValueError(f"{kind.__name__} has a provider already: expected one per type")
        self._providers[kind] = make
        return self

    @property
    def features(self) -> Sequence[type[Feature]]:
        """The classes of the features, in the order of :meth:`nest`."""
        return [feature for _, feature in self._features]

    @property
    def providers(self) -> Mapping[type, Callable[[AppState], object]]:
        """The providers of shared objects, by type."""
        return self._providers

    @property
    def settings(self) -> Sequence[type[Any]]:
        """The declarations of all settings: the application's, then the features'."""
        declared = [self._settings, *(feature.settings for feature in self.features)]
        return list(dict.fromkeys(kind for kind in declared if kind is not None))

    @property
    def migrations(self) -> Traversable | None:
        """The folder of the application's migrations, None without any."""
        if not self._migrations:
            return None
        return self._migrations if isinstance(self._migrations, Path) else files(self._migrations)

    def read_migrations(self) -> list[Migration]:
        """Return the framework's migrations and the application's.

        Reads files.  Raises :class:`~x121.db.migrations.MigrationError`.
        """
        folder = self.migrations
        return [*framework_migrations(), *(read_migrations(folder) if folder else ())]

    def build(self, state: AppState) -> None:
        """Build every feature, once.

        Raises :class:`RuntimeError` if they are built already, and :class:`MissingProviderError`,
        with the name of the feature, for a missing provider.
        """
        if state.mounts:
            raise RuntimeError("the features of this state are built already: build them once")
        for prefix, feature in self._features:
            try:
                state.mounts.append(Mount(prefix, feature(state)))
            except MissingProviderError as error:
                raise MissingProviderError(f"{feature.__name__}: {error}") from None


def _check_feature(prefix: str, feature: object) -> None:
    if isinstance(feature, Feature):
        name = type(feature).__name__
        raise TypeError(f"{prefix}: expected the class {name}, not an instance: nest builds it")
    if not (isinstance(feature, type) and issubclass(feature, Feature)):
        name = getattr(feature, "__name__", repr(feature))
        raise TypeError(f"{prefix}: expected a subclass of x121.Feature, not {name}")


def command(name: str) -> Callable[[Method], Method]:
    """Return a decorator that makes a feature's method the command ``x121 NAME``.

    The first line of its docstring is its summary, its parameters are the command's arguments,
    converted to their types.  It may be ``async``.  The pool is open, but the server doesn't run::

        @command("prune-boards")
        async def prune(self, days: int) -> None:
            \"""Delete the boards that were not opened for DAYS days.\"""
    """

    def mark(method: Method) -> Method:
        method.__dict__[_COMMAND] = name
        return method

    return mark


def commands_of(feature: type[Feature]) -> dict[str, Callable[..., Any]]:
    """Return the command methods of a feature, by the command's name."""
    members = {name: getattr(feature, name) for name in dir(feature)}
    return {
        member.__dict__[_COMMAND]: member
        for member in members.values()
        if isfunction(member) and _COMMAND in member.__dict__
    }
