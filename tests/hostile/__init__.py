"""The attacks of one address that once stopped scoring, for minutes: what the processes keep of them in memory."""
