"""Boundary between what happens at each call and what is scraped now and then: plain numbers, added without locks.

prometheus-client's own counters take a lock at each step, several in each call. These belong to the event loop's
thread, which is the only one that counts and the one that reads them.
"""

import time
from bisect import bisect_left
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, Exemplar, HistogramMetricFamily

from gateway.telemetry.catalogue import BY_NAME, PREFIX

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds up to which a bucket counts."""
_NAMES: Final = (*(f"{bound:g}" if bound % 1 else f"{bound:.1f}" for bound in BOUNDS), "+Inf")


class Timing:
    """How long things took; of each bucket, one of them by its request id."""

    __slots__ = ("_counts", "_examples", "_total")

    def __init__(self) -> None:
        self._counts = [0] * len(_NAMES)
        self._total = 0.0
        self._examples: list[tuple[str, float, float] | None] = [None] * len(_NAMES)

    def observe(self, seconds: float, request_id: str = "") -> None:
        """Count one that took so many seconds."""
        bucket = bisect_left(BOUNDS, seconds)
        self._counts[bucket] += 1
        self._total += seconds
        if request_id:
            self._examples[bucket] = (request_id, seconds, time.time())

    def add_to(self, family: HistogramMetricFamily, labels: tuple[str, ...]) -> None:
        """Show what was counted."""
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        for name, count, example in zip(_NAMES, accumulate(self._counts), self._examples, strict=True):
            exemplar = (Exemplar({"request_id": example[0]}, example[1], example[2]),) if example else ()
            buckets.append((name, count, *exemplar))
        family.add_metric(labels, buckets, self._total)


class Counts:
    """A counter by its labels."""

    def __init__(self, name: str) -> None:
        self._described = BY_NAME[name]
        self._by_labels: dict[tuple[str, ...], int] = {}

    def add(self, *labels: str, count: int = 1) -> None:
        """Count one, or so many."""
        self._by_labels[labels] = self._by_labels.get(labels, 0) + count

    @property
    def total(self) -> int:
        """All that was counted, whatever the labels."""
        return sum(self._by_labels.values())

    def family(self) -> CounterMetricFamily:
        """Show what was counted."""
        described = self._described
        family = CounterMetricFamily(PREFIX + described.name, described.documentation, labels=described.labels)
        for labels, count in self._by_labels.items():
            family.add_metric(labels, count)
        return family


class Timings:
    """A histogram by its labels."""

    def __init__(self, name: str) -> None:
        self._described = BY_NAME[name]
        self._by_labels: dict[tuple[str, ...], Timing] = {}

    def of(self, *labels: str) -> Timing:
        """Return the one with these labels."""
        if (timing := self._by_labels.get(labels)) is None:
            timing = self._by_labels[labels] = Timing()
        return timing

    def family(self) -> HistogramMetricFamily:
        """Show what was observed."""
        described = self._described
        family = HistogramMetricFamily(PREFIX + described.name, described.documentation, labels=described.labels)
        for labels, timing in self._by_labels.items():
            timing.add_to(family, labels)
        return family
