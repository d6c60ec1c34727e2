"""A backend foundation on Twisted: HTTP, WebSockets and PostgreSQL on one reactor.

Start reading in :mod:`x121.tap`.
"""

__all__: list[str] = []
