"""Shows metrics: from zero on, and in the text format that a scraper asks for, Prometheus' own or OpenMetrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector


class _Collected(Collector):
    """Gauges that were read for one scrape."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def expose(registry: CollectorRegistry, accepted: str, gauges: Iterable[Metric] = ()) -> tuple[bytes, str]:
    """Encode metrics, and gauges that were read for this scrape, as `Accept` asks; say the content type."""
    encode, content_type = choose_encoder(accepted)
    both = CollectorRegistry()
    both.register(registry)
    both.register(_Collected(gauges))
    return encode(both), content_type


def count_from_zero(counter: Counter, *labels: Iterable[str]) -> None:
    """Show a counter's series before anything is counted, one for each combination of the values of its labels.

    A series that begins with its first event has no increase that an alert could see.
    """
    for values in product(*labels):
        counter.labels(*values)
