"""Projects: the feature to copy from."""

__all__: list[str] = []
