"""Implement `leaderboard status`: poll the processes, compare two snapshots, draw a screen."""
