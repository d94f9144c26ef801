"""Runs the real servers and our own processes on one machine, without Docker, and leaves nothing behind."""
