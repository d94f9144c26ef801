"""Run the real servers and our own processes on one machine, without Docker, and leave nothing behind."""
