"""Documentation made from what the features declare, as documents for programs and as pages."""

__all__: list[str] = []
