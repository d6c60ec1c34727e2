"""The sealed room: what takes the place of Twisted's own where speed matters, and nothing else.

A reactor (``reactor.py``, with its ``ports``, ``transport`` and ``timers``), and an HTTP channel
(``http.py``).  They don't know one another, each can be turned off, and nobody outside can tell.
"""

__all__: list[str] = []
