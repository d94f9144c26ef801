"""Import: where players of another system stand, into Postgres and from there into Redis."""
