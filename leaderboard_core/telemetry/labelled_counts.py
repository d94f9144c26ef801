"""A counter by labels as plain numbers, which become a metric only at a scrape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector


class LabelledCounts(Collector):
    """A counter whose series are counted by one thread; the library's own take a lock for each number.

    It does not say when a series began (`_created`).
    """

    def __init__(self, name: str, text: str, labels: tuple[str, ...], registry: CollectorRegistry) -> None:
        self.labels = labels
        self._name, self._text = name, text
        self._counts: dict[tuple[str, ...], int] = {}
        registry.register(self)

    def count(self, *values: str) -> None:
        """Count one in the series of these values of its labels."""
        counts = self._counts
        counts[values] = counts.get(values, 0) + 1

    def show(self, *labels: Iterable[str]) -> None:
        """Show a series from zero on for each combination of the values of its labels (`count_from_zero` says why)."""
        for values in product(*labels):
            self._counts.setdefault(values, 0)

    def describe(self) -> Iterator[Metric]:
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        family = self._family()
        for values, number in self._counts.items():
            if len(values) != len(self.labels):  # looked at here, where it costs no call
                raise ValueError(f"{self._name} has the labels {self.labels}, and counted {values}")
            family.add_metric(values, number)
        yield family

    def _family(self) -> CounterMetricFamily:
        return CounterMetricFamily(self._name, self._text, labels=self.labels)
