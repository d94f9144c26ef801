"""Postgres: one database per region, migrations and SQL statements."""
