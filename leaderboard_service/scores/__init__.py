"""Score writes: one, batches, idempotency."""
