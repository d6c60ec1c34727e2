"""Whether the WebSockets are what RFC 6455 says: ``python -m tests.conformance``."""
