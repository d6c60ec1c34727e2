"""The features' data types: pure, a module a feature."""

__all__: list[str] = []
