"""Process: finds the application and runs it."""

__all__: list[str] = []
