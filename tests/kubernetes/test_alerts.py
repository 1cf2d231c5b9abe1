"""The alert rules and the dashboard speak of metrics that exist, and each rule fires when it should and only then."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.telemetry.catalogue import CATALOGUE
from tests import alerts
from tests.cluster.plugin import unavailable

DASHBOARD = alerts.MANIFEST.with_name("dashboard.json")
HEALTHY = {
    'kube_mcp_gateway_build_info{version="1"}': "1x60",
    'kube_mcp_gateway_breaker_open{cluster="east"}': "0x60",
    'kube_mcp_gateway_tool_calls_total{tool="resource_get",cluster="east",outcome="ok"}': "0+60x60",
    'kube_mcp_gateway_tool_calls_total{tool="resource_get",cluster="east",outcome="unavailable"}': "0+1x60",
    'kube_mcp_gateway_tool_calls_total{tool="resource_get",cluster="east",outcome="internal"}': "5x60",
    'kube_mcp_gateway_authentication_failures_total{reason="expired"}': "7x60",
    'kube_mcp_gateway_authentication_failures_total{reason="missing"}': "0+600x60",
    'kube_mcp_gateway_authentication_failures_total{reason="signature"}': "0+1x60",
    'kube_mcp_gateway_rate_limited_total{cluster="east",rate="reads"}': "0+2x60",
    'kube_mcp_gateway_gate_waiting{cluster="east"}': "0 3 0 2 0 1 0x54",
    'kube_mcp_gateway_own_seconds_bucket{tool="resource_get",le="0.01"}': "0+60x60",
    'kube_mcp_gateway_own_seconds_bucket{tool="resource_get",le="+Inf"}': "0+60x60",
    "kube_mcp_gateway_tls_certificate_expires_timestamp_seconds": "2592000x60",
    "kube_mcp_gateway_tls_certificate_stale": "0x60",
    'kube_mcp_gateway_api_server_certificate_expires_timestamp_seconds{cluster="east"}': "2592000x60",
    "kube_mcp_gateway_settings_reload_failed": "0x60",
    "kube_mcp_gateway_answers_held_back": "0 2 0 4 0x56",
    "kube_mcp_gateway_sealing_keys_unusable": "0x60",
    "kube_mcp_gateway_rate_limits_alone": "0x60",
    "kube_mcp_gateway_audit_lost_total": "3x60",
    "kube_mcp_gateway_insecure_clusters": "0x60",
}
"""Series of a gateway with trouble long ago and the usual noise since, by the minute, in promtool's notation."""
TROUBLE = {
    "KubeMcpGatewayDown": {'kube_mcp_gateway_build_info{version="1"}': "_x60"},
    "KubeMcpGatewayClusterDown": {'kube_mcp_gateway_breaker_open{cluster="east"}': "1x60"},
    "KubeMcpGatewayCallsFail": {
        'kube_mcp_gateway_tool_calls_total{tool="resource_get",cluster="east",outcome="unavailable"}': "0+30x60"
    },
    "KubeMcpGatewayFault": {
        'kube_mcp_gateway_tool_calls_total{tool="resource_get",cluster="east",outcome="internal"}': "0+1x60"
    },
    "KubeMcpGatewayTokensExpired": {'kube_mcp_gateway_authentication_failures_total{reason="expired"}': "0+2x60"},
    "KubeMcpGatewayTokensRefused": {'kube_mcp_gateway_authentication_failures_total{reason="signature"}': "0+60x60"},
    "KubeMcpGatewayCallerFloods": {'kube_mcp_gateway_rate_limited_total{cluster="east",rate="reads"}': "0+60x60"},
    "KubeMcpGatewayQueue": {'kube_mcp_gateway_gate_waiting{cluster="east"}': "3x60"},
    "KubeMcpGatewaySlow": {
        'kube_mcp_gateway_own_seconds_bucket{tool="resource_get",le="0.01"}': "0x60",
        'kube_mcp_gateway_own_seconds_bucket{tool="resource_get",le="1.0"}': "0+60x60",
    },
    "KubeMcpGatewayCertificateEnds": {"kube_mcp_gateway_tls_certificate_expires_timestamp_seconds": "500000x60"},
    "KubeMcpGatewayCertificateStale": {"kube_mcp_gateway_tls_certificate_stale": "1x60"},
    "KubeMcpGatewayApiServerCertificateEnds": {
        'kube_mcp_gateway_api_server_certificate_expires_timestamp_seconds{cluster="east"}': "500000x60"
    },
    "KubeMcpGatewaySettingsStale": {"kube_mcp_gateway_settings_reload_failed": "1x60"},
    "KubeMcpGatewayMemory": {"kube_mcp_gateway_answers_held_back": "2x60"},
    "KubeMcpGatewaySealingKeysUnusable": {"kube_mcp_gateway_sealing_keys_unusable": "1x60"},
    "KubeMcpGatewayStoreAway": {"kube_mcp_gateway_rate_limits_alone": "1x60"},
    "KubeMcpGatewayAuditLost": {"kube_mcp_gateway_audit_lost_total": "0+1x60"},
    "KubeMcpGatewayInsecureCluster": {"kube_mcp_gateway_insecure_clusters": "1x60"},
}


def promtool(*arguments: str) -> str:
    """Run promtool, and return what it wrote; an assertion error shows what it did not like."""
    try:
        ended = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        unavailable("there is no promtool; on Debian and Ubuntu: apt-get install prometheus")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def expressions() -> dict[str, str]:
    """Return every expression of rules and dashboard by where it stands."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    shown = {f"{panel['title']} {target['refId']}": target["expr"] for panel in panels for target in panel["targets"]}
    return {rule["alert"]: rule["expr"] for rule in alerts.rules()} | shown


@pytest.mark.parametrize("where", expressions())
def test_every_metric_that_is_named_exists(where: str) -> None:
    """A rule or a panel on a metric that was renamed, or by a label that it does not have, would be silent for ever."""
    expression = expressions()[where]
    named = set(re.findall(r"kube_mcp_gateway_\w+", expression))
    assert named
    parts = {"histogram": ("_bucket", "_sum", "_count")}
    exist = {each.full_name + part: each for each in CATALOGUE for part in parts.get(each.kind, ("",))}
    assert named <= set(exist)
    labels = {label for name in named for label in exist[name].labels} | {"le", "pod"}
    used = set(re.findall(r"(\w+)(?:=~?|!=|!~)\"", expression))
    for listed in re.findall(r"by \(([^)]*)\)", expression):
        used |= {label.strip() for label in listed.split(",")}
    assert used <= labels


def test_the_rules_are_rules() -> None:
    """Prometheus' own tool takes them, and every one says what to do."""
    promtool("check", "rules", str(alerts.RULES))
    for rule in alerts.rules():
        assert set(rule["annotations"]) == {"summary", "description", "action"}
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}


def test_each_alert_fires_on_its_trouble_alone(tmp_path: Path) -> None:
    """On a healthy gateway none fires, and for each there is a trouble on which it does, and no other with it."""
    names = [rule["alert"] for rule in alerts.rules()]
    assert set(names) == set(TROUBLE)
    tests: list[dict[str, Any]] = []
    for trouble in (None, *names):
        series = HEALTHY | (TROUBLE[trouble] if trouble else {})
        conditions = [{"eval_time": "20m", "alertname": name} for name in names if name != trouble]
        wanted = [{"expr": f'count(ALERTS{{alertstate="firing",alertname="{trouble}"}}) > 0', "eval_time": "20m"}]
        tests.append(
            {
                "name": trouble or "healthy",
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": conditions,
                "promql_expr_test": [
                    {**each, "exp_samples": [{"labels": "{}", "value": 1}]} for each in wanted if trouble
                ],
            }
        )
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(alerts.RULES)], "evaluation_interval": "15s", "tests": tests}))
    assert "SUCCESS" in promtool("test", "rules", str(file))


def test_the_dashboard_can_be_imported() -> None:
    """Panels have ids of their own and places that do not overlap, and the data source is the importer's to choose."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert {target["datasource"]["uid"] for panel in panels for target in panel["targets"]} == {"${datasource}"}
