"""Reads of boards, from Redis or Postgres."""
