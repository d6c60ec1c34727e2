"""Features included in the framework, written like those of an application."""

__all__: list[str] = []
