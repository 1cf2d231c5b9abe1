from collections.abc import Iterator

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.metrics import Metrics, Reading


def samples(metrics: Metrics) -> dict[str, float]:
    """Return what Prometheus would scrape, by name and labels."""
    found = {}
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        assert family.documentation, family.name
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()) if name != "le")
            if not sample.name.endswith(("_created", "_bucket")):
                found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_a_call_is_counted_and_timed() -> None:
    """By tool, cluster and outcome; its time by tool and cluster."""
    metrics = Metrics()
    metrics.tool_call("resource_get", "east", "ok", 0.25, 0.05, "r-1")
    metrics.tool_call("resource_get", "east", "forbidden", 0.5, 0.5, "r-2")
    found = samples(metrics)
    assert found["kube_mcp_gateway_tool_calls_total{cluster=east,outcome=ok,tool=resource_get}"] == 1
    assert found["kube_mcp_gateway_tool_calls_total{cluster=east,outcome=forbidden,tool=resource_get}"] == 1
    assert found["kube_mcp_gateway_tool_call_seconds_count{cluster=east,tool=resource_get}"] == 2
    assert found["kube_mcp_gateway_tool_call_seconds_sum{cluster=east,tool=resource_get}"] == 0.75


def test_a_request_to_an_api_server_is_counted_and_timed() -> None:
    """By cluster, verb and status, or what came in a status' place."""
    metrics = Metrics()
    for status in ("200", "200", "403", "refused", "connect"):
        metrics.api_request("east", "get", status, 0.1)
    found = samples(metrics)
    for status, count in (("200", 2), ("403", 1), ("refused", 1), ("connect", 1)):
        assert found[f"kube_mcp_gateway_api_requests_total{{cluster=east,status={status},verb=get}}"] == count


def test_failed_authentications_and_unverified_clusters_are_seen() -> None:
    """Both are what an operator is woken for."""
    metrics = Metrics()
    metrics.authentication_failure("expired")
    metrics.insecure_clusters(2)
    found = samples(metrics)
    assert found["kube_mcp_gateway_authentication_failures_total{reason=expired}"] == 1
    assert found["kube_mcp_gateway_insecure_clusters{}"] == 2


def test_state_is_read_when_it_is_scraped() -> None:
    """Numbers of the process' state are no older than the scrape, and readings of one name are one metric."""
    state = {"east": 1.0}

    def readings() -> Iterator[Reading]:
        yield Reading("pool_clients", "Warm clients.", len(state))
        for cluster, value in state.items():
            yield Reading("discovery_types", "Types.", value, (("cluster", cluster),))

    metrics = Metrics()
    metrics.watch_state(readings)
    assert samples(metrics)["kube_mcp_gateway_pool_clients{}"] == 1
    state["west"] = 7.0
    found = samples(metrics)
    assert found["kube_mcp_gateway_pool_clients{}"] == 2
    assert found["kube_mcp_gateway_discovery_types{cluster=east}"] == 1
    assert found["kube_mcp_gateway_discovery_types{cluster=west}"] == 7


def test_two_gateways_in_one_process_count_apart() -> None:
    """There is no registry that all share."""
    first, second = Metrics(), Metrics()
    first.authentication_failure("expired")
    assert "kube_mcp_gateway_authentication_failures_total{reason=expired}" not in samples(second)
