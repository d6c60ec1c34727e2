"""The application that the benchmark asks: ``X121_APP=bench.ours.application:application``."""

__all__: list[str] = []
