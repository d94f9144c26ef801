"""Recovery: from Postgres back into Redis, and the comparison of the two."""
