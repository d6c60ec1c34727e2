"""The rules of the house, read from the source: who may know whom, and what nobody may do.

A rule that fails says what was found, where, and what is allowed.
"""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[1]

# Every room, and what of x121 it may import.  A name stands for the module, or for the package
# and everything in it that has no rule of its own.
MAY_KNOW = {
    "x121": "",
    "x121.types": "",
    "x121.ids": "",
    "x121.jsons": "",
    "x121.json_decoding": "x121.errors",
    "x121.coroutines": "",
    "x121.sqlstates": "",
    "x121.errors": "x121.sqlstates",
    "x121.failures": "x121.errors",
    "x121.signatures": "",
    "x121.validation": "x121.coroutines x121.errors x121.types",
    "x121.log_output": "",
    "x121.log_writer": "x121.log_output",
    "x121.lookups": "",
    "x121.clocks": "",
    "x121.logs": "x121.clocks x121.jsons x121.log_output x121.log_writer",
    "x121._parsers": "x121.types",
    "x121.systemd": "",
    "x121.config": "x121._parsers x121.logs x121.types",
    "x121.http": "x121.http x121.errors x121.json_decoding x121.jsons x121.logs x121.types",
    "x121.middleware": (
        "x121.middleware x121.http x121.errors x121.failures x121.ids x121.logs x121.config"
        " x121.jsons x121.types"
    ),
    "x121.db": (
        "x121.db x121.errors x121.jsons x121.logs x121.lookups x121.sqlstates x121.types"
        " x121.config"
    ),
    "x121.ws": (
        "x121.ws x121.errors x121.failures x121.ids x121.logs x121.types x121.config x121.jsons"
        " x121.json_decoding"
        " x121.coroutines x121.http x121.signatures x121.validation x121.models.base"
    ),
    "x121.models": "x121.models x121.types",
    "x121.repositories": "x121.repositories x121.models x121.db x121.errors x121.types",
    "x121.app_state": "x121.config x121.db.pool x121.ws",
    "x121.api.operation": "x121.errors x121.http.request x121.signatures",
    "x121.api.etags": "x121.api.operation x121.errors x121.http.request",
    "x121.api.text_values": "",
    "x121.api.typed": (
        "x121.api.operation x121.api.text_values x121.api.etags x121.coroutines x121.errors"
        " x121.http.headers x121.http.request x121.json_decoding x121.signatures x121.validation"
    ),
    "x121.api.endpoints": "x121.api.operation",
    "x121.api.router": "x121.api.endpoints x121.api.operation x121.api.typed",
    "x121.api.rule_tree": "",
    "x121.api.route_table": "x121.api.rule_tree x121.http.head",
    "x121.api.answers": "x121.coroutines x121.errors x121.http",
    "x121.api.dispatch": (
        "x121.api.answers x121.api.endpoints x121.api.route_table x121.coroutines x121.http.request"
    ),
    "x121.api.listing": "x121.api.operation",
    "x121.api.responses": "x121.jsons x121.errors x121.http",
    "x121.api.routes": "x121.api x121.app_state x121.console x121.docs x121.ws",
    "x121.api": (
        "x121.app_state x121.errors x121.api.router x121.api.responses x121.api.operation"
        " x121.api.etags x121.http.request"
        " x121.models x121.repositories x121.ws.connection x121.ws.messages x121.types"
    ),
    "x121.console": (
        "x121.console x121.api.router x121.app_state x121.errors x121.http x121.jsons x121.logs"
        " x121.ws.connection x121.ws.router"
    ),
    "x121.docs": (
        "x121.docs x121.ws x121.api.etags x121.api.operation x121.api.router x121.errors x121.http"
        " x121.jsons x121.models.base x121.signatures x121.types"
    ),
    "x121.pid_file": "",
    "x121.process": "",
    "x121.shutdown": "x121.app_state x121.db x121.http x121.ws",
    "x121.fast": "x121.fast x121.http x121.errors",
    "x121.server": (
        "x121.api.dispatch x121.api.router x121.api.routes x121.app_state x121.clocks"
        " x121.config x121.db x121.errors x121.http x121.json_decoding x121.middleware"
        " x121.process x121.shutdown x121.systemd x121.ws"
    ),
    "x121.tap": (
        "x121.clocks x121.logs x121.log_output x121.lookups x121.config x121.server x121.pid_file"
        " x121.process x121.systemd x121.fast x121.api.routes x121.http.channel"
    ),
    "x121.scaffold": "",
    "x121.cli": (
        "x121.clocks x121.logs x121.log_output x121.config x121.db x121.app_state x121.api"
        " x121.middleware x121.process x121.server x121.scaffold"
    ),
    "x121.dev": "",
    "x121.testing": "x121",
}

# Only these may import the reactor, and inside a function: whoever imports it installs it.
MAY_KNOW_THE_REACTOR = (
    "x121.tap",
    "x121.cli",
    "x121.fast",
    "x121.testing",
    "twisted.plugins.x121_plugin",
)

# Calls that nobody makes, why, and where one is needed all the same.
FORBIDDEN_CALLS = {
    "print": ("the log is for that", {}),
    "time.time": (
        "ask the clock that you were given",
        {"x121.clocks": "the wall clock that all others are given"},
    ),
    "time.sleep": ("the reactor stands still meanwhile", {}),
    "datetime.now": ("ask the clock that you were given", {}),
    "datetime.utcnow": ("ask the clock that you were given", {}),
}


@dataclass(frozen=True)
class Import:
    """``module`` is the module imported, or the one that a name is imported from."""

    module: str
    name: str
    line: int
    in_function: bool
    for_types: bool

    @property
    def target(self) -> str:
        """The module that is known through this."""
        whole = f"{self.module}.{self.name}"
        return whole if whole in modules() else self.module


@dataclass(frozen=True)
class Module:
    """One module of the project, as its source says."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        """Whether it is a package's ``__init__``."""
        return self.path.name == "__init__.py"

    def at(self, line: int) -> str:
        """Return a place as editors understand it."""
        return f"{self.path.relative_to(ROOT)}:{line}"

    def imports(self) -> Iterator[Import]:
        """Yield everything that is imported."""
        yield from _imports(self, self.tree, in_function=False, for_types=False)


def _imports(module: Module, tree: ast.AST, in_function: bool, for_types: bool) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, "", node.lineno, in_function, for_types)
        elif isinstance(node, ast.ImportFrom):
            parent = _from(module, node)
            for alias in node.names:
                yield Import(parent, alias.name, node.lineno, in_function, for_types)
        else:
            function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            yield from _imports(module, node, in_function or function, for_types or types)


def _from(module: Module, node: ast.ImportFrom) -> str:
    """Return what ``from`` names, also where it counts dots."""
    if not node.level:
        return node.module or ""
    parts = module.name.split(".") + ([""] if module.is_package else [])
    return ".".join([*parts[: -node.level], *([node.module] if node.module else [])])


@functools.cache
def modules() -> dict[str, Module]:
    """Return every module of x121 by its name, and the plugin."""
    found = {}
    for path in [*sorted(ROOT.glob("x121/**/*.py")), *ROOT.glob("twisted/plugins/*.py")]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name, path, ast.parse(path.read_text("utf-8")))
    return found


def _is_in(name: str, room: str) -> bool:
    return name == room or name.startswith(room + ".")


def _rule(name: str) -> str | None:
    """Return the most special room of ``MAY_KNOW`` that ``name`` is in."""
    rooms = [room for room in MAY_KNOW if name == room or (room != "x121" and _is_in(name, room))]
    return max(rooms, key=len, default=None)


def calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield what is called, as it is written, and the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


class ImportTests(SynchronousTestCase):
    """Who may know whom."""

    def assertNothing(self, found: list[str], rule: str) -> None:
        """Fail with everything that was found against ``rule``."""
        if found:
            self.fail("\n".join([rule, *(f"  {line}" for line in dict.fromkeys(found))]))

    def test_reads_the_source(self) -> None:
        """What these tests read is there: modules, their imports, and relative ones too."""
        self.assertIn("x121.http.channel", modules())
        self.assertIn("x121.config", [i.target for i in modules()["x121.tap"].imports()])
        package = modules()["x121.http"]
        for text, expected in (
            ("from . import head", "x121.http.head"),
            ("from .head import METHODS", "x121.http.head"),
            ("from .. import logs", "x121.logs"),
            ("def f():\n from x121.logs import last_line", "x121.logs"),
            ("import x121.db.pool", "x121.db.pool"),
        ):
            module = Module(package.name, package.path, ast.parse(text))
            self.assertEqual([one.target for one in module.imports()], [expected])

    def test_every_room_has_a_rule(self) -> None:
        """A new module or package of x121 is given a rule before it is used."""
        without = [name for name in modules() if name.startswith("x121") and _rule(name) is None]
        self.assertNothing(
            without, "say in MAY_KNOW (tests/test_structure.py) whom these may know:"
        )

    def test_who_may_know_whom(self) -> None:
        """No room imports what it may not know, not even for its types or in a function."""
        found = []
        for module in modules().values():
            room = _rule(module.name)
            if room is None:
                continue
            allowed = MAY_KNOW[room].split()
            for one in module.imports():
                if _is_in(one.target, "x121") and not any(_is_in(one.target, a) for a in allowed):
                    what = f"{module.at(one.line)} imports {one.target}"
                    found.append(f"{what}; {room} may know: {', '.join(allowed) or 'nothing'}")
        self.assertNothing(found, "a room knows one it should not, by MAY_KNOW:")

    def test_wrappers_know_no_wrapper(self) -> None:
        """A wrapper knows the shape they share and no other one; only ``__init__`` assembles."""
        found = []
        for module in modules().values():
            if not _is_in(module.name, "x121.middleware") or module.is_package:
                continue
            for one in module.imports():
                shared = one.target == "x121.middleware._wrapper"
                if _is_in(one.target, "x121.middleware") and not shared:
                    found.append(f"{module.at(one.line)} imports {one.target}")
        self.assertNothing(found, "wrappers are put together in x121/middleware/__init__.py only:")

    def test_private_modules(self) -> None:
        """A module named ``_x`` is imported in its own package alone."""
        found = []
        for module in modules().values():
            package = module.name if module.is_package else module.name.rpartition(".")[0]
            for one in module.imports():
                owner, private, _ = one.target.partition("._")
                if private and _is_in(owner, "x121") and owner != package:
                    found.append(f"{module.at(one.line)} imports {one.target}, private to {owner}")
        self.assertNothing(found, "a private module is known outside its package:")

    def test_nobody_knows_the_tests(self) -> None:
        """x121 imports nothing of its tests and benchmarks."""
        found = [
            f"{module.at(one.line)} imports {one.module}"
            for module in modules().values()
            for one in module.imports()
            if one.module.split(".")[0] in ("tests", "bench")
        ]
        self.assertNothing(found, "an installed x121 has neither tests nor bench:")

    def test_the_reactor(self) -> None:
        """Only those at the top import the reactor, in a function; all others are given it."""
        found = []
        for module in modules().values():
            for one in module.imports():
                if f"{one.module}.{one.name}".strip(".") != "twisted.internet.reactor":
                    continue
                if one.for_types:
                    continue
                if not any(_is_in(module.name, top) for top in MAY_KNOW_THE_REACTOR):
                    found.append(f"{module.at(one.line)}: be given `reactor` or `clock` instead")
                elif not one.in_function:
                    found.append(f"{module.at(one.line)}: import it inside a function")
        self.assertNothing(found, f"only {', '.join(MAY_KNOW_THE_REACTOR)} import the reactor:")


class CallTests(SynchronousTestCase):
    """What nobody may do."""

    def test_forbidden_calls(self) -> None:
        """Nobody prints, sleeps, or asks the system for the time; an exception has a reason."""
        found = []
        used = set()
        for module in modules().values():
            names = _names(module)
            for written, line in calls(module.tree):
                call = names.get(written, written)
                call = call.removeprefix("datetime.") if call.count(".") > 1 else call
                if call not in FORBIDDEN_CALLS:
                    continue
                reason, allowed = FORBIDDEN_CALLS[call]
                if module.name in allowed:
                    used.add((call, module.name))
                else:
                    found.append(f"{module.at(line)} calls {call}: {reason}")
        if found:
            self.fail("\n".join(found))
        exceptions = {(c, m) for c, (_, allowed) in FORBIDDEN_CALLS.items() for m in allowed}
        self.assertEqual(exceptions - used, set(), "exceptions that nobody needs any more")

    def test_finds_calls(self) -> None:
        """The rule sees through ``from time import sleep``."""
        module = Module("x", ROOT / "x.py", ast.parse("from time import sleep as rest\nrest(1)"))
        self.assertEqual(_names(module), {"rest": "time.sleep"})

    def test_loops_have_a_clock(self) -> None:
        """Every LoopingCall is given a clock: without one it takes the global reactor."""
        for module in modules().values():
            loops = [line for call, line in calls(module.tree) if call.endswith("LoopingCall")]
            clocks = [
                node
                for node in ast.walk(module.tree)
                if isinstance(node, ast.Attribute)
                and node.attr == "clock"
                and isinstance(node.ctx, ast.Store)
                and ast.unparse(node.value) != "self"
            ]
            places = ", ".join(map(module.at, loops))
            self.assertGreaterEqual(len(clocks), len(loops), f"{places}: set its `clock`")


def _names(module: Module) -> dict[str, str]:
    """Return what the names that ``module`` imports from elsewhere stand for."""
    names = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


class PublicNamesTests(SynchronousTestCase):
    """``__all__``."""

    def test_every_module_has_one(self) -> None:
        """A module that defines public names says which ones are for others."""
        found = []
        for module in modules().values():
            if not _is_in(module.name, "x121") or module.name == "x121":
                continue
            defined = [
                node.name
                for node in module.tree.body
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
                and not node.name.startswith("_")
            ]
            if defined and _all(module) is None:
                found.append(f"{module.at(1)} has no __all__, but {', '.join(defined)}")
        self.assertEqual(found, [])

    def test_is_true(self) -> None:
        """Every name in an ``__all__`` exists, once, and the names are sorted."""
        for module in modules().values():
            names = _all(module)
            if names is None:
                continue
            loaded = importlib.import_module(module.name)
            missing = [name for name in names if not hasattr(loaded, name)]
            self.assertEqual(missing, [], f"{module.at(1)}: in __all__ and nowhere else")
            self.assertEqual(len(set(names)), len(names), f"{module.at(1)}: twice in __all__")

    def test_is_kept(self) -> None:
        """What one module imports from another is in that one's ``__all__``."""
        found = []
        for module in modules().values():
            for one in module.imports():
                known = modules().get(one.module)
                names = None if known is None else _all(known)
                if names is None or f"{one.module}.{one.name}" in modules():
                    continue
                if one.name and one.name not in names:
                    found.append(f"{module.at(one.line)} imports {one.module}.{one.name}")
        if found:
            self.fail("\n".join(["not in the module's __all__:", *found]))


def _all(module: Module) -> list[str] | None:
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            value: list[str] = ast.literal_eval(node.value)
            return value
    return None
