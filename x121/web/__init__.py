"""HTTP handlers: routing, typed parameters and results, and responses."""

__all__: list[str] = []
