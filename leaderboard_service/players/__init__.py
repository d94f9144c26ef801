"""Players: who exists and on which shard, export and deletion."""
