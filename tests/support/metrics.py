"""Reads the metrics of this process, as a scrape would."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry


def sample(name: str, registry: CollectorRegistry = REGISTRY, /, **labels: str) -> float:
    """Return the value of a sample; 0 when it was never touched."""
    return registry.get_sample_value(name, labels) or 0.0
