"""Builds the container stack, tries it as a whole and takes it down: `python -m tests.compose`."""
