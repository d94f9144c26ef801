"""Build the container stack, test it as a whole and take it down: `python -m tests.compose`."""
