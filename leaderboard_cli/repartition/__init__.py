"""Spread the players of some regions over other Redis."""
