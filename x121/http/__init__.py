"""HTTP/1.1 server: a strict, bounded and drainable version of Twisted's.

``site.py`` keeps the open connections, ``channel.py`` reads one of them, ``head.py`` validates
request heads, ``chunked.py`` decodes chunked bodies, and ``request.py`` has the request that
middleware and handlers use.
"""

__all__: list[str] = []
