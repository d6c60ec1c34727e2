"""HTTP/1.1 as x121 serves it: Twisted's, made strict, bounded and drainable.

``site.py`` knows the open connections, ``channel.py`` reads one of them, ``head.py`` judges
the heads that were read, ``chunked.py`` takes bodies in chunks apart, ``request.py`` is what
wrappers and handlers hold.
"""

__all__: list[str] = []
