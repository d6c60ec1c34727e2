"""WebSockets, in memory: frames in, frames out, on a clock that only tests advance."""
