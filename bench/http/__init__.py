"""Load of requests: what is asked, how each server is checked, and wrk."""

__all__: list[str] = []
