"""Inject faults into a running cluster under load, and check every acknowledged write against a ledger."""
