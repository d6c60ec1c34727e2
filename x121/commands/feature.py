"""Commands that features define: ``x121 NAME``."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError, validate_call
from twisted.python import usage

from x121.commands.base import Command, log_to_standard_error
from x121.commands.database import run_with_database
from x121.config import AppConfig, DbConfig

if TYPE_CHECKING:
    from x121.application import Application

__all__ = ["feature_commands"]


def feature_commands(application: Application) -> dict[str, tuple[type[usage.Options], str]]:
    """Return the options and the summary of every command of the application's features.

    Raises :class:`ValueError` if two features have a command of the same name.
    """
    from x121.application import commands_of

    found: dict[str, tuple[type[usage.Options], str]] = {}
    for feature in application.features:
        for name, method in commands_of(feature).items():
            if name in found:
                raise ValueError(
                    f"{feature.__name__}: another feature already has a command x121 {name}"
                )
            found[name] = (_make_options(name, feature, method), _summary(method))
    return found


def _make_options(name: str, feature: type[Any], method: Callable[..., Any]) -> type[usage.Options]:
    parameters = [p for p in inspect.signature(method).parameters if p != "self"]

    class FeatureCommand(_FeatureCommand):
        synopsis = " ".join([f"{name} [options]", *(p.upper() for p in parameters)])
        longdesc = inspect.getdoc(method) or ""

    FeatureCommand.feature = feature
    FeatureCommand.method_name = method.__name__
    return FeatureCommand


def _summary(method: Callable[..., Any]) -> str:
    return (inspect.getdoc(method) or "").partition("\n")[0]


class _FeatureCommand(Command):
    """Runs a method of a feature, with an open pool and without serving anything."""

    feature: type[Any]
    method_name: str
    synopsis: str

    def parseArgs(self, *arguments: str) -> None:
        """Take the method's arguments."""
        self["arguments"] = arguments

    def run(self) -> int:
        """Run the method on a reactor; return 1 if the database can't be reached."""
        application, loaded = self.load()
        log_to_standard_error(loaded)
        work = partial(self._work, application, loaded.config)
        run_with_database(loaded.config.db, work, interrupted="interrupted")
        return 0

    async def _work(
        self, application: Application, config: AppConfig, reactor: Any, db: DbConfig
    ) -> None:
        from x121.runtime.state import running_state

        async with running_state(application, config, db, reactor=reactor) as state:
            features = [mount.feature for mount in state.mounts]
            feature = next(one for one in features if type(one) is self.feature)
            await self._call(getattr(feature, self.method_name))

    async def _call(self, method: Callable[..., Any]) -> None:
        try:
            result = validate_call(method)(*self["arguments"])
        except ValidationError as error:
            problems = [f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors()]
            raise SystemExit(f"x121 {self.synopsis}: {'; '.join(problems)}") from None
        if isinstance(result, Awaitable):
            await result
