"""Measurements: histograms, for the console and for metrics."""

__all__: list[str] = []
