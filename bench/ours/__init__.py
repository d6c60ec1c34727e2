"""x121 with the routes that the benchmark asks for: ``twistd x121-bench``."""

__all__: list[str] = []
