"""What `leaderboard status` shows: looking, comparing two looks, and drawing."""
