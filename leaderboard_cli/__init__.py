"""The leaderboard command: runs and looks after all of the other parts."""
