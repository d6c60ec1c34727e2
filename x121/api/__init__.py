"""The routes: who is served where, and one module a feature."""

__all__: list[str] = []
