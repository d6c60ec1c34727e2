"""JSON messages over WebSockets: handlers, events, topics."""

__all__: list[str] = []
