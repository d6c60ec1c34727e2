"""The database: a pool of connections, migrations, and a PostgreSQL that comes along."""

__all__: list[str] = []
