"""Definitions of boards: stated by administrators, kept in Postgres, known to every Redis and heeded by every write."""
