"""The program ``x121``: what operators and authors do besides running the server."""

__all__: list[str] = []
