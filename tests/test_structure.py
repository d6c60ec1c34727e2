"""The rules of the house, read from the source: who may know whom, and what nobody may do.

A rule that fails says what was found, where, and what is allowed.
"""

from __future__ import annotations

import ast
import functools
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[1]

# The packages and modules of x121 in layers, from the top.  A line imports only from layers below
# its own, and from its own package.
LAYERS = (
    ("x121.tap", "x121.plugin"),
    ("x121.testing", "x121.commands"),
    ("x121.runtime",),
    ("x121.app",),
    ("x121.builtin",),
    ("x121.application",),
    ("x121.messaging",),
    ("x121.middleware", "x121.ws", "x121.db"),
    ("x121.web", "x121.config"),
    ("x121.http", "x121.logs"),
    ("x121.core",),
    ("x121.telemetry", "x121.errors"),
    ("x121.reactor",),
)
# For the authors of features: it imports when it is asked for a name.
FRONT_DOOR = "x121"

# Only these may import the reactor, and inside a function: whoever imports it installs it.
MAY_KNOW_THE_REACTOR = (
    "x121.tap",
    "x121.reactor",
    "x121.commands",
    "x121.testing",
    "twisted.plugins.x121_plugin",
)

# Calls that nobody makes, why, and where one is needed all the same.
FORBIDDEN_CALLS = {
    "print": ("the log is for that", {}),
    "time.time": (
        "ask the clock that you were given",
        {"x121.core.clocks": "the wall clock that all others are given"},
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


def _layer(name: str) -> tuple[str, int] | None:
    """Return the package of ``LAYERS`` that ``name`` is in, and its height."""
    for height, packages in enumerate(reversed(LAYERS)):
        for package in packages:
            if _is_in(name, package):
                return package, height
    return None


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

    def test_every_module_has_a_layer(self) -> None:
        """A new package of x121 is put into a layer before it is used."""
        names = [name for name in modules() if _is_in(name, "x121") and name != FRONT_DOOR]
        without = [name for name in names if _layer(name) is None]
        self.assertNothing(without, "put into LAYERS (tests/test_structure.py):")

    def test_layers(self) -> None:
        """No module imports from its own layer or one above, for its types or in a function."""
        found = []
        for module in modules().values():
            own = _layer(module.name)
            if own is None:
                continue
            for one in module.imports():
                other = _layer(one.target)
                if other is not None and other[0] != own[0] and other[1] >= own[1]:
                    found.append(f"{module.at(one.line)} imports {one.target}")
        self.assertNothing(found, "imports that go up, by LAYERS:")

    def test_front_door(self) -> None:
        """Only applications, and what generates them, come in through the front door."""
        found = [
            f"{module.at(one.line)} imports {one.name} from x121"
            for module in modules().values()
            for one in module.imports()
            if one.target == FRONT_DOOR and not _is_in(module.name, "x121.app")
        ]
        self.assertNothing(found, "inside of the framework a name comes from its own module:")

    def test_framework_knows_no_application(self) -> None:
        """Nothing of the framework imports ``x121.app``, which could be any application."""
        found = [
            f"{module.at(one.line)} imports {one.target}"
            for module in modules().values()
            for one in module.imports()
            if _is_in(one.target, "x121.app") and not _is_in(module.name, "x121.app")
        ]
        self.assertNothing(found, "the application is found by x121.runtime.load alone:")

    def test_middleware_knows_no_other(self) -> None:
        """A middleware knows the shape they share and no other; two modules assemble them."""
        found = []
        for module in modules().values():
            assembles = module.is_package or module.name == "x121.middleware.pipeline"
            if not _is_in(module.name, "x121.middleware") or assembles:
                continue
            for one in module.imports():
                shared = one.target == "x121.middleware.base"
                if _is_in(one.target, "x121.middleware") and not shared:
                    found.append(f"{module.at(one.line)} imports {one.target}")
        self.assertNothing(found, "middleware is put together in __init__.py and pipeline.py only:")

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


# Only these have SQL: what they are for is the database, or to write a feature.
SQL = ("x121.db", "x121.testing", "x121.commands")
_STATEMENT = re.compile(
    r"\s*(SELECT|INSERT INTO|UPDATE \w+ SET|DELETE FROM|WITH \w+ AS|CREATE|ALTER|DROP) \S", re.ASCII
)
_QUESTION = re.compile(r"(What|Who|Whose|Whom|Whether|Where|How|Which|Is|Are)\b")


class TextTests(SynchronousTestCase):
    """SQL and docstrings."""

    def test_sql(self) -> None:
        """SQL stands in ``x121.db`` and in the queries of features."""
        found = [
            f"{module.at(node.lineno)}: {node.value[:60]!r}"
            for module in modules().values()
            if not any(_is_in(module.name, place) for place in SQL)
            and module.path.name != "queries.py"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and _STATEMENT.match(node.value)
        ]
        self.assertEqual(found, [], "put it into the feature's queries.py")

    def test_docstrings(self) -> None:
        """The docstring of a module or a class begins with its subject, not with a question."""
        found = []
        for module in modules().values():
            classes = [node for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)]
            nodes: list[ast.Module | ast.ClassDef] = [module.tree, *classes]
            for node in nodes:
                doc = ast.get_docstring(node) or ""
                if _QUESTION.match(doc):
                    found.append(f"{module.at(getattr(node, 'lineno', 1))}: {doc.splitlines()[0]}")
        self.assertEqual(found, [], "begin with a noun or a verb: 'Middleware that ...'")


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
