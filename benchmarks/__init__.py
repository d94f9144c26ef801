"""Measurements, each against a bare version of the same work in the same run."""
