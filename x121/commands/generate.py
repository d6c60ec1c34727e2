"""Generator of a feature in a product: writes all of its files, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from x121.commands.feature_files import FeatureSpec, render_feature
from x121.commands.names import GenerationError
from x121.commands.parents import Parent, steps_to
from x121.commands.product import Product, add_feature

__all__ = ["Plan", "plan_feature"]


@dataclass(frozen=True)
class Plan:
    """Files to write for a feature: texts of the ``new`` ones, and of the changed ``module``.

    ``name`` is that of the feature's folder.
    """

    product: Product
    name: str
    new: Mapping[Path, str]
    module: str

    def check(self) -> None:
        """Raise :class:`GenerationError` if a file, the folder or a module of its name exists."""
        folder = self.product.folder / self.name
        paths = [folder, folder.with_suffix(".py"), *self.new]
        found = [str(path) for path in paths if (self.product.root / path).exists()]
        if found:
            raise GenerationError(f"{', '.join(found)}: exists already, so nothing was written")

    def write(self) -> list[Path]:
        """Write the files and return their paths."""
        for path, text in self.new.items():
            target = self.product.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("x", encoding="utf-8") as file:
                file.write(text)
        (self.product.root / self.product.module).write_text(self.module, "utf-8")
        return [*self.new, self.product.module]


def plan_feature(
    spec: FeatureSpec,
    product: Product,
    source: str,
    parents: Mapping[str, Parent],
    *,
    has_tests: bool = True,
) -> Plan:
    """Return the plan for ``spec``, in a product whose application's module is ``source``.

    ``parents`` are the features that it may refer to. Raises :class:`GenerationError`.
    """
    refs = [field.parent for field in spec.fields if field.parent]
    tables = {ref: _table(ref, product, parents) for ref in refs}
    if product.has_table(spec.names.many):
        raise GenerationError(f"a migration creates the table {spec.names.many} already")
    steps = steps_to(refs, parents) if has_tests else None
    feature = spec.names.Many
    module = f"{product.package}.{spec.names.many}.routes"
    return Plan(
        product,
        spec.names.many,
        render_feature(spec, product, tables, steps),
        add_feature(source, product, module, feature, spec.prefix),
    )


def _table(ref: str, product: Product, parents: Mapping[str, Parent]) -> str:
    if ref not in parents:
        known = ", ".join(f"{name}:ref" for name in parents) or "nothing to refer to"
        raise GenerationError(
            f"{ref}:ref: no feature has a route /<int:{ref}_id>; expected one of: {known}"
        )
    table = parents[ref].table
    if not product.has_table(table):
        raise GenerationError(f"{ref}:ref: no file in {product.migrations} creates table {table}")
    return table
