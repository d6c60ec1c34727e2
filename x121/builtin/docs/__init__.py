"""API documentation, generated from the features' declarations, as documents and as pages."""

__all__: list[str] = []
