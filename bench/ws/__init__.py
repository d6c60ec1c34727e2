"""Load on WebSockets: clients in processes of their own, and what is measured with them."""

__all__: list[str] = []
