"""Players: finding and claiming them, export and deletion."""
