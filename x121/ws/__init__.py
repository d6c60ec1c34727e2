"""WebSockets (RFC 6455), without the JSON messages of :mod:`x121.messaging`.

For each connection, :mod:`handshake` checks the request and upgrades its connection, and
:mod:`protocol` speaks WebSocket on it.  Incoming bytes go through :mod:`reader`, a limited number
in each turn of the reactor.  It parses whole frames with :mod:`frames` and leaves all others to
Autobahn.  Messages wait in :mod:`inbox` until those before them are handled.  Outgoing frames go
through :mod:`outbox`.

For all connections, :mod:`manager` keeps the set of them and :mod:`heartbeat` pings them.
"""

__all__: list[str] = []
