"""Health, status and metrics of a replica."""
