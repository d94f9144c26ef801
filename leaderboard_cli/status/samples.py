"""Parse pages of metrics, and compute the growth between two of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples of one process: name → labels → value. `at` is in seconds of a monotonic clock."""

    at: float
    values: Mapping[str, Mapping[Labels, float]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, at: float) -> Samples:
        """Parse a page in Prometheus' text format. Raises ValueError when it is something else."""
        values: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                values[sample.name][tuple(sorted(sample.labels.items()))] = sample.value
        return cls(at, values)

    def of(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        for labels, value in self.values.get(name, {}).items():
            yield dict(labels), value


def growth(name: str, before: Samples, after: Samples) -> Iterator[tuple[dict[str, str], float]]:
    """Yield the growth of each series of a counter; one that is smaller than before was reset to 0."""
    earlier = before.values.get(name, {})
    for labels, value in after.values.get(name, {}).items():
        start = earlier.get(labels, 0.0)
        yield dict(labels), value - start if value >= start else value


class Distribution:
    """A histogram's growth, summed over processes: cumulative counts by upper bound in seconds."""

    def __init__(self) -> None:
        self._at_most: defaultdict[float, float] = defaultdict(float)

    def add(self, upper: float, count: float) -> None:
        self._at_most[upper] += count

    @property
    def count(self) -> float:
        return self._at_most.get(float("inf"), 0.0)

    def quantile(self, share: float) -> float | None:
        """Return the quantile `share` in seconds, interpolated linearly between the bounds as Prometheus does.

        None when nothing was counted; the largest bound when it lies beyond that.
        """
        wanted = share * self.count
        if not wanted:
            return None
        lower, below = 0.0, 0.0
        for upper, count in sorted(self._at_most.items()):
            if count >= wanted:
                if upper == float("inf"):
                    return lower
                return lower + (upper - lower) * (wanted - below) / (count - below)
            lower, below = upper, count
        return None
