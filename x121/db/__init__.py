"""Database: a connection pool, migrations, and an embedded PostgreSQL."""

__all__: list[str] = []
