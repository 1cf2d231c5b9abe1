"""Boundary to Prometheus: what is counted and timed as it happens, and what is read when it is scraped."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.telemetry.catalogue import BY_NAME, PREFIX
from gateway.telemetry.series import Counts, Timings

LATEST: Final = 64
"""Requests of each cluster whose times are kept one by one, for the admin page."""
_STATUSES: Final = {status.value: str(status.value) for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Reading:
    """One number read from the process' state when it is scraped; `name` and labels as the catalogue has them."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


class Metrics:
    """The process' metrics, in a registry of their own; the event loop's thread counts. The catalogue has their names.

    Label values come from settings or fixed sets only.
    """

    def __init__(self) -> None:
        """Register everything at zero."""
        # Not auto_describe: it would read the state of every cluster at each registration, for the names alone.
        self.registry = CollectorRegistry()
        self._calls = Counts("tool_calls")
        self._call_seconds = Timings("tool_call_seconds")
        self._own_seconds = Timings("own_seconds")
        self._api_requests = Counts("api_requests")
        self._api_seconds = Timings("api_request_seconds")
        self.latest: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=LATEST))
        self._authentication_failures = Counts("authentication_failures")
        self._rate_limited = Counts("rate_limited")
        self._redactions = Counts("redactions")
        counted = (
            self._calls,
            self._call_seconds,
            self._own_seconds,
            self._api_requests,
            self._api_seconds,
            self._authentication_failures,
            self._rate_limited,
            self._redactions,
        )
        self.registry.register(_Collector(lambda: (each.family() for each in counted)))
        ProcessCollector(registry=self.registry)

    def tool_call(  # noqa: PLR0917  # called at each call; names would cost more than they say
        self, tool: str, cluster: str, outcome: str, seconds: float, own_seconds: float, request_id: str
    ) -> None:
        """Count one tool call, its time and the gateway's own share of that, in seconds."""
        self._calls.add(tool, cluster, outcome)
        self._call_seconds.of(tool, cluster).observe(seconds, request_id)
        self._own_seconds.of(tool).observe(own_seconds)

    def api_request(self, cluster: str, verb: str, status: int | str, seconds: float | None) -> None:
        """Count one request to an API server by its HTTP status, or by the word for what kept it from having one.

        `seconds` is None where nothing was sent.
        """
        if not isinstance(status, str):
            # Whatever is at the other end must not make up labels.
            status = _STATUSES.get(status) or "other"
        self._api_requests.add(cluster, verb, status)
        if seconds is not None:
            self._api_seconds.of(cluster).observe(seconds)
            self.latest[cluster].append(seconds)

    def authentication_failure(self, reason: str) -> None:
        """Count one request without an acceptable token."""
        self._authentication_failures.add(reason)

    @property
    def refused_tokens(self) -> int:
        """How many requests there were without an acceptable token."""
        return self._authentication_failures.total

    def rate_limited(self, cluster: str, rate: str) -> None:
        """Count one call that was one too many."""
        self._rate_limited.add(cluster, rate)

    def redacted(self, cluster: str, values: int) -> None:
        """Count values that were masked in one text."""
        self._redactions.add(cluster, count=values)

    def watch_state(self, *readings: Callable[[], Iterable[Reading]]) -> None:
        """Read these numbers from the process' state at each scrape."""
        for each in readings:
            self.registry.register(_Collector(partial(_state, each)))


class _Collector(Collector):
    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        return self._collect()


def _state(readings: Callable[[], Iterable[Reading]]) -> Iterator[Metric]:
    families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
    for reading in readings():
        if (family := families.get(reading.name)) is None:
            described = BY_NAME[reading.name]
            made = CounterMetricFamily if described.kind == "counter" else GaugeMetricFamily
            family = families[reading.name] = made(
                PREFIX + described.name, described.documentation, labels=described.labels
            )
        family.add_metric(reading.labels, reading.value)
    return iter(families.values())
