"""Accounts, scores and boards: every rule of ranking."""
