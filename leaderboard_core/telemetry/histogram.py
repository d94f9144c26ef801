"""Count the latencies of requests in plain numbers, which become a metric only at a scrape.

The library's own counters take a lock for each number, which one thread does not need.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.utils import floatToGoString


class LatencyHistogram:
    """Latencies of one kind: how many lie within each of `bounds` (ascending seconds; the last bucket has no end), and
    their sum.
    """

    __slots__ = ("bounds", "counts", "seconds")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds

    def merge(self, other: LatencyHistogram) -> None:
        self.counts = [own + its for own, its in zip(self.counts, other.counts, strict=True)]
        self.seconds += other.seconds


def histogram_metric(
    name: str, text: str, label: str, bounds: Sequence[float], parts: Iterable[tuple[str, LatencyHistogram]]
) -> HistogramMetricFamily:
    """Build the metric by one label, of which each value may come in several parts."""
    whole: defaultdict[str, LatencyHistogram] = defaultdict(lambda: LatencyHistogram(bounds))
    for value, latency in parts:
        whole[value].merge(latency)
    family = HistogramMetricFamily(name, text, labels=(label,))
    upper = [*map(floatToGoString, bounds), "+Inf"]
    for value, latency in whole.items():
        family.add_metric((value,), list(zip(upper, accumulate(latency.counts), strict=True)), latency.seconds)
    return family
