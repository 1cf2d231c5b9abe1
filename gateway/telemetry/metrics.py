"""Boundary to Prometheus: what is counted and timed, under which names and labels."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

M = TypeVar("M", bound=MetricWrapperBase)


@dataclass(frozen=True, slots=True)
class Reading:
    """One number read from the process' state when it is scraped; `name` without prefix, labels as pairs."""

    name: str
    documentation: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


class Metrics:
    """The process' metrics, in a registry of their own. Label values come from settings or fixed sets only."""

    def __init__(self) -> None:
        """Register everything at zero."""
        self.registry = CollectorRegistry(auto_describe=True)
        self._labelled: dict[tuple[MetricWrapperBase, tuple[str, ...]], MetricWrapperBase] = {}
        self._calls = Counter(
            "kube_mcp_gateway_tool_calls",
            "Tool calls by tool, cluster and outcome (ok, or what went wrong).",
            ["tool", "cluster", "outcome"],
            registry=self.registry,
        )
        self._call_seconds = Histogram(
            "kube_mcp_gateway_tool_call_seconds",
            "Time of a tool call inside the gateway, the API server's included.",
            ["tool", "cluster"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._api_requests = Counter(
            "kube_mcp_gateway_api_requests",
            "Requests of callers to API servers by cluster, verb and HTTP status (or refused, unreachable).",
            ["cluster", "verb", "status"],
            registry=self.registry,
        )
        self._api_seconds = Histogram(
            "kube_mcp_gateway_api_request_seconds",
            "Time until an API server's answer was read.",
            ["cluster"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._authentication_failures = Counter(
            "kube_mcp_gateway_authentication_failures",
            "Requests refused before MCP saw them, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self._insecure = Gauge(
            "kube_mcp_gateway_insecure_clusters",
            "Listed clusters whose certificate is not verified. Anything but 0 is a risk.",
            registry=self.registry,
        )

    def tool_call(self, tool: str, cluster: str, outcome: str, seconds: float) -> None:
        """Count one tool call and its time in seconds."""
        self._of(self._calls, tool, cluster, outcome).inc()
        self._of(self._call_seconds, tool, cluster).observe(seconds)

    def api_request(self, cluster: str, verb: str, status: str, seconds: float) -> None:
        """Count one request to an API server, also one that the policy refused, and its time in seconds."""
        self._of(self._api_requests, cluster, verb, status).inc()
        self._of(self._api_seconds, cluster).observe(seconds)

    def _of(self, metric: M, *labels: str) -> M:
        """Return the metric with these labels; kept here, because the library takes a lock to find it."""
        key = (metric, labels)
        if (found := self._labelled.get(key)) is None:
            found = self._labelled[key] = metric.labels(*labels)
        return found  # type: ignore[return-value]  # what `labels` returns is of its own kind

    def authentication_failure(self, reason: str) -> None:
        """Count one request without an acceptable token."""
        self._authentication_failures.labels(reason).inc()

    def insecure_clusters(self, count: int) -> None:
        """Say how many listed clusters are not verified."""
        self._insecure.set(count)

    def watch_state(self, readings: Callable[[], Iterable[Reading]]) -> None:
        """Read these numbers from the process' state at each scrape."""
        self.registry.register(_StateCollector(readings))


class _StateCollector(Collector):
    def __init__(self, readings: Callable[[], Iterable[Reading]]) -> None:
        self._readings = readings

    def collect(self) -> Iterable[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for reading in self._readings():
            family = families.get(reading.name)
            if family is None:
                names = [name for name, _ in reading.labels]
                family = families[reading.name] = GaugeMetricFamily(
                    f"kube_mcp_gateway_{reading.name}", reading.documentation, labels=names
                )
            family.add_metric([value for _, value in reading.labels], reading.value)
        return families.values()
