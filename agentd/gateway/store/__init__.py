"""The database: SQLite or PostgreSQL, by the same statements."""
