"""Board reads, from Redis or Postgres."""
