"""What `leaderboard boards import` reads: lines of JSON, each of which says where a player stood elsewhere."""
