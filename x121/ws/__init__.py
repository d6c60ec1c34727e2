"""WebSockets: who is connected, what they say, whether they live, and how much may wait.

One connection: :mod:`handshake` judges the request and takes its connection over, :mod:`protocol`
speaks WebSocket on it.  What comes in goes through :mod:`reader`, a part in each turn of the
reactor, which makes messages of whole frames with :mod:`lane` and leaves all others to Autobahn,
to :mod:`inbox`, where messages wait for those before them, and :mod:`dispatch`, which finds the
handler; what goes out through :mod:`outbox`.
:mod:`wire` is what the messages look like, :mod:`messages` what a feature sees of them: a
:mod:`handler` whose signature names :mod:`data_types`, and :mod:`events` about :mod:`topics`.
:mod:`built_in` has those that all clients can use.  For all
connections, :mod:`manager` knows who is there and :mod:`heartbeat` whether they still are.
"""

__all__: list[str] = []
