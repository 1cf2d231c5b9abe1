import re
from collections.abc import Iterator
from http import HTTPStatus

from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.catalogue import BY_NAME, CATALOGUE
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


def test_the_gateway_s_own_time_stands_apart() -> None:
    """What the API server took is not in it, so that it tells whose fault a slow call is."""
    metrics = Metrics()
    metrics.tool_call("resource_get", "east", "ok", 0.25, 0.05, "r-1")
    found = samples(metrics)
    assert found["kube_mcp_gateway_own_seconds_count{tool=resource_get}"] == 1
    assert found["kube_mcp_gateway_own_seconds_sum{tool=resource_get}"] == 0.05


def test_what_was_not_sent_took_no_time() -> None:
    """A refusal by the policy must not make an API server look quick."""
    metrics = Metrics()
    metrics.api_request("east", "get", "refused", None)
    assert not any("api_request_seconds" in name for name in samples(metrics))


def test_an_api_server_makes_up_no_labels() -> None:
    """Statuses that HTTP does not have are counted as one, or a server at the other end could fill the memory."""
    metrics = Metrics()
    for status in range(100, 1100):
        metrics.api_request("east", "get", status, 0.1)
    found = [name for name in samples(metrics) if name.startswith("kube_mcp_gateway_api_requests_total")]
    assert len(found) == len(HTTPStatus) + 1
    assert samples(metrics)["kube_mcp_gateway_api_requests_total{cluster=east,status=other,verb=get}"] > 900


def test_buckets_are_cumulative_and_name_a_request() -> None:
    """A slow call can be found in the audit trail by the request id that its bucket shows in OpenMetrics."""
    metrics = Metrics()
    for request_id, seconds in (("quick", 0.001), ("slow", 0.3), ("slower", 0.4), ("stuck", 100.0)):
        metrics.tool_call("resource_get", "east", "ok", seconds, seconds, request_id)
    [family] = [
        each
        for each in openmetrics.text_string_to_metric_families(exposition.generate_latest(metrics.registry).decode())  # type: ignore[no-untyped-call]
        if each.name == "kube_mcp_gateway_tool_call_seconds"
    ]
    buckets = {each.labels["le"]: each for each in family.samples if each.name.endswith("_bucket")}
    assert {le: buckets[le].value for le in ("0.001", "0.25", "0.5", "60.0", "+Inf")} == {
        "0.001": 1,
        "0.25": 1,
        "0.5": 3,
        "60.0": 3,
        "+Inf": 4,
    }
    shown = {le: each.exemplar.labels["request_id"] for le, each in buckets.items() if each.exemplar}
    assert shown == {"0.001": "quick", "0.5": "slower", "+Inf": "stuck"}


def test_failures_and_refusals_are_counted() -> None:
    """Who has no good token, and who calls too often."""
    metrics = Metrics()
    metrics.authentication_failure("expired")
    metrics.rate_limited("east", "reads")
    found = samples(metrics)
    assert found["kube_mcp_gateway_authentication_failures_total{reason=expired}"] == 1
    assert found["kube_mcp_gateway_rate_limited_total{cluster=east,rate=reads}"] == 1


def test_state_is_read_when_it_is_scraped() -> None:
    """Numbers of the process' state are no older than the scrape, and readings of one name are one metric."""
    state = {"east": 1.0}

    def readings() -> Iterator[Reading]:
        yield Reading("pool_clients", len(state))
        yield Reading("audit_lost", 3)
        for cluster, value in state.items():
            yield Reading("discovery_types", value, (cluster,))

    metrics = Metrics()
    metrics.watch_state(readings)
    assert samples(metrics)["kube_mcp_gateway_pool_clients{}"] == 1
    state["west"] = 7.0
    found = samples(metrics)
    assert found["kube_mcp_gateway_pool_clients{}"] == 2
    assert found["kube_mcp_gateway_audit_lost_total{}"] == 3
    assert found["kube_mcp_gateway_discovery_types{cluster=east}"] == 1
    assert found["kube_mcp_gateway_discovery_types{cluster=west}"] == 7


def test_nothing_is_read_before_somebody_scrapes() -> None:
    """A start with many clusters must not go through all of them for what nobody asked."""
    read = []

    def readings() -> Iterator[Reading]:
        read.append("once")
        yield Reading("pool_clients", 1)

    metrics = Metrics()
    metrics.watch_state(readings)
    assert read == []
    assert samples(metrics)["kube_mcp_gateway_pool_clients{}"] == 1


def test_two_gateways_in_one_process_count_apart() -> None:
    """There is no registry that all share."""
    first, second = Metrics(), Metrics()
    first.authentication_failure("expired")
    assert "kube_mcp_gateway_authentication_failures_total{reason=expired}" not in samples(second)


def test_names_are_as_prometheus_wants_them() -> None:
    """Each is described once, in its own words, and a counter's name has no `_total` of its own."""
    assert len(BY_NAME) == len(CATALOGUE)
    for each in CATALOGUE:
        assert re.fullmatch(r"[a-z_]+", each.name)
        assert not each.name.endswith(("_total", "_created", "_count", "_sum", "_bucket"))
        assert each.documentation.endswith(".")
        assert each.advice.endswith(".")
