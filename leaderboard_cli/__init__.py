"""Run and operate the whole system by the `leaderboard` command."""
