"""Projects: an example feature to copy from."""

__all__: list[str] = []
