"""Faults of a Redis Cluster under the ledger: masters die, hang and hand their slots over."""
