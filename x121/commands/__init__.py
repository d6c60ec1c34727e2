"""Program ``x121``: commands for operators and developers."""

__all__: list[str] = []
