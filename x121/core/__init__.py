"""Models, types and encodings, without I/O and without the reactor."""

__all__: list[str] = []
