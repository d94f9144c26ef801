"""Accounts: registration, login and passwords."""
