"""Measure the system, each time against a bare version of the same work in the same run."""
