"""WebSockets: who is connected, what they say, whether they live, and how much may wait.

One connection: :mod:`handshake` judges the request and takes its connection over, :mod:`protocol`
speaks WebSocket on it (Autobahn does the framing), :mod:`inbox` and :mod:`outbox` bound what waits
on the way in and out, :mod:`dispatch` finds the handler of a message.  For all of them,
:mod:`manager` knows who is there and :mod:`heartbeat` whether they still are.
"""

__all__: list[str] = []
