"""Measure what `appendfsync` costs and what it loses, on disks whose fsync takes a known time."""
