"""Tools an operator runs next to a worker."""
