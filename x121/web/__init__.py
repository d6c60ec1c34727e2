"""Handlers: what they may say, and how a request finds them."""

__all__: list[str] = []
