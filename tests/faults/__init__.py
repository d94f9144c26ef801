"""Real processes are killed, paused and robbed of their data under load; a ledger says what must be left."""
