"""Twisted's reactor over uvloop: ports, transports and timers.  Imports nothing from x121."""

__all__: list[str] = []
