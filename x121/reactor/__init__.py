"""Twisted's reactor over uvloop: ports, transports and timers of its own.  Imports nothing of x121."""

__all__: list[str] = []
