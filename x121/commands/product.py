"""Product that files are generated in: locations of its application, migrations and tests."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path

from x121.commands.layout import lay_out
from x121.commands.names import GenerationError

__all__ = ["Product", "add_feature", "find_product"]

_NUMBERED = re.compile(r"(\d+)_\w+\.sql")


@dataclass(frozen=True)
class Product:
    """Product in the folder ``root``; the paths of its parts are relative to that.

    ``package`` is the name of its package, whose ``module`` has the variable ``application``.
    """

    root: Path
    package: str
    module: Path
    application: str
    migrations: Path
    tests: Path

    @property
    def folder(self) -> Path:
        """Folder of the package."""
        return self.module.parent

    def migration(self, name: str) -> Path:
        """Return the path of the next migration."""
        numbers = [int(found[1]) for found in map(_NUMBERED.fullmatch, self._files()) if found]
        return self.migrations / f"{max(numbers, default=0) + 1:04d}_{name}.sql"

    def has_table(self, table: str) -> bool:
        """Return True if a migration creates ``table``."""
        create = re.compile(rf"CREATE TABLE (IF NOT EXISTS )?{table}\b", re.IGNORECASE)
        folder = self.root / self.migrations
        return any(create.search((folder / name).read_text("utf-8")) for name in self._files())

    def _files(self) -> list[str]:
        return sorted(path.name for path in (self.root / self.migrations).glob("*.sql"))


def find_product(root: Path, path: str, migrations: Traversable | None) -> Product:
    """Return the product in ``root`` whose application is at ``path``, such as studio:application.

    ``migrations`` is the folder of its migrations. Raises :class:`GenerationError` if the
    application or that folder is elsewhere.
    """
    module_name, _, application = path.partition(":")
    module = _below(root, module_name)
    if module is None:
        raise GenerationError(
            f"{path} is not in {root}: expected the top folder of a product, where its setup.py is"
        )
    is_package = module.name == "__init__.py"
    package = module_name if is_package else module_name.rpartition(".")[0]
    if not package:
        raise GenerationError(f"{module_name} is a module: expected a package to put features in")
    folder = migrations.resolve() if isinstance(migrations, Path) else None
    if folder is None or not folder.is_relative_to(root):
        raise GenerationError(
            f"{path} has no migrations in {root}: expected a folder in its package, and"
            f' Application(..., migrations="{package}.migrations")'
        )
    tests = Path(
        "tests", package.rpartition(".")[2]
    )  # the application's part of the tests, if there is one
    return Product(
        root=root,
        package=package,
        module=module,
        application=application,
        migrations=folder.relative_to(root),
        tests=tests if (root / tests).is_dir() else Path("tests"),
    )


def _below(root: Path, module: str) -> Path | None:
    """Return the path of a module below ``root``, or None if it is elsewhere."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return None
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).resolve()
    return path.relative_to(root) if path.is_relative_to(root) else None


def add_feature(source: str, product: Product, module: str, feature: str, prefix: str) -> str:
    """Return the application's module with ``feature``, of ``module``, nested at ``prefix``.

    Raises :class:`GenerationError` if there is no place for it.
    """
    tree = ast.parse(source)
    nest_after = _last_line(tree, product.application)
    if nest_after is None:
        raise GenerationError(
            f"{product.module} has no line {product.application} = Application(...)"
        )
    lines = source.splitlines(keepends=True)
    lines.insert(nest_after, lay_out(f'{product.application}.nest("{prefix}", {feature})'))
    line, text = _place_import(tree, product.package, f"from {module} import {feature}\n", module)
    lines.insert(line, text)
    return "".join(lines)


def _last_line(tree: ast.Module, application: str) -> int | None:
    """Return the last line that creates the application or nests a feature in it."""
    last = None
    for node in tree.body:
        is_made = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == application
        is_used = isinstance(node, ast.Expr) and ast.unparse(node).startswith(f"{application}.")
        if is_made or is_used:
            last = node.end_lineno
    return last


def _place_import(tree: ast.Module, package: str, text: str, module: str) -> tuple[int, str]:
    """Return the line after which an import belongs, and the lines to insert there."""
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    top = package.partition(".")[0]
    ours = [
        node
        for node in imports
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == top
    ]
    before = [node for node in ours if (node.module or "") < module]
    if before:
        return before[-1].end_lineno or 0, text
    if ours:
        return ours[0].lineno - 1, text
    return imports[-1].end_lineno or 0, f"\n{text}"
