"""Models, types and encodings: no input, no output, no reactor."""

__all__: list[str] = []
