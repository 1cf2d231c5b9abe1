"""What goes wrong is seen in the metrics, in the audit trail and on the page, each time without looking elsewhere."""

import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.audit import AuditOptions
from gateway.telemetry.catalogue import CATALOGUE
from tests.admin.conftest import House, MakeHouse

DAY = 86400.0


class Watcher:
    """An operator who has Prometheus, the audit file and the page."""

    def __init__(self, house: House, file: Path) -> None:
        self.house = house
        self.file = file

    async def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples with these labels."""
        async with aiohttp.ClientSession() as client, client.get(f"{self.house.url}/metrics") as answer:
            families = text_string_to_metric_families(await answer.text())
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == f"kube_mcp_gateway_{name}" and labels.items() <= sample.labels.items()
        )

    def records(self) -> list[dict[str, Any]]:
        """Return the audit trail."""
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    async def page(self) -> dict[str, Any]:
        """Return what the page shows now."""
        async with aiohttp.ClientSession() as client, client.get(f"{self.house.url}/events") as answer:
            shown: dict[str, Any] = json.loads((await answer.content.readline()).removeprefix(b"data: "))
        return shown


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Name the audit file."""
    return tmp_path / "audit.jsonl"


async def watched(house: MakeHouse, file: Path, *names: str, **limits: int) -> Watcher:
    """Run a gateway before these clusters, with its audit trail in the file."""
    return Watcher(await house(*names, limits=limits, audit=AuditOptions(to="file", path=file)), file)


async def test_a_cluster_that_dies(house: MakeHouse, file: Path) -> None:
    """It is named everywhere, with why; the other one is nowhere."""
    watcher = await watched(house, file, "east", "west", breaker_failures=2)
    for name in ("east", "west"):
        await watcher.house.call(name)
    await watcher.house.clusters["west"].stop()
    for _ in range(3):
        await watcher.house.call("west")
    await watcher.house.call("east")
    assert await watcher.metric("breaker_open", cluster="west") == 1
    assert await watcher.metric("breaker_open", cluster="east") == 0
    assert await watcher.metric("api_requests_total", cluster="west", status="connect") == 2
    assert await watcher.metric("tool_calls_total", cluster="west", outcome="unavailable") == 2
    assert await watcher.metric("tool_calls_total", cluster="west", outcome="breaker_open") == 1
    assert await watcher.metric("tool_calls_total", cluster="east", outcome="ok") == 2
    decisions = [(each["cluster"], each["decision"]) for each in watcher.records()]
    assert decisions == [
        ("east", "allow"),
        ("west", "allow"),
        ("west", "connect"),
        ("west", "connect"),
        ("west", "breaker_open"),
        ("east", "allow"),
    ]
    west, east = (await watcher.page())["clusters"]
    assert (west["name"], west["state"], west["trouble"]) == ("west", "not answering", 3)
    assert west["error"] == "nothing answers at its address"
    assert (east["name"], east["state"], east["trouble"]) == ("east", "answering", 0)


async def test_a_token_that_expired(house: MakeHouse, file: Path) -> None:
    """The operator sees how many come with one; nothing is written of what the token claims."""
    watcher = await watched(house, file, "east")
    token = await watcher.house.clusters["east"].token(seconds=-60)
    assert await watcher.house.call("east", token=token) == "401"
    assert await watcher.metric("authentication_failures_total", reason="expired") == 1
    [record] = watcher.records()
    assert (record["event"], record["decision"], record["status"]) == ("unauthenticated", "expired", 401)
    assert record["subject"] == record["issuer"] == record["token_id"] == ""
    assert (await watcher.page())["totals"]["refused"] == 1
    assert not any(part in watcher.file.read_text() for part in token.split("."))


async def test_a_caller_who_floods(house: MakeHouse, file: Path) -> None:
    """Who it is stands on the page; what was refused never reached the cluster, so it is no Kubernetes request."""
    watcher = await watched(house, file, "east", reads_per_minute=3)
    for _ in range(5):
        await watcher.house.call("east")
    assert await watcher.metric("rate_limited_total", cluster="east", rate="reads") == 2
    assert await watcher.metric("tool_calls_total", outcome="rate_limited") == 2
    assert [each["decision"] for each in watcher.records()] == ["allow"] * 3
    page = await watcher.page()
    [limited] = page["limited"]
    assert (limited["who"], limited["cluster"], limited["count"]) == ("system:serviceaccount:demo:mcp", "east", 2)
    assert [each["outcome"] for each in page["calls"]] == ["rate_limited"] * 2 + ["ok"] * 3


async def test_a_certificate_that_nears_its_end(house: MakeHouse, file: Path) -> None:
    """Its end is known from the first handshake on, and the page says so two weeks before."""
    watcher = Watcher(await house("east", certificate_days=5), file)
    assert await watcher.metric("api_server_certificate_expires_timestamp_seconds") == 0
    await watcher.house.call("east")
    ends = await watcher.metric("api_server_certificate_expires_timestamp_seconds", cluster="east")
    assert abs(ends - time.time() - 5 * DAY) < 300
    [cluster] = (await watcher.page())["clusters"]
    assert (cluster["remarks"], cluster["trouble"]) == (["its certificate ends in 5 days"], 1)


async def test_each_request_is_told_apart_by_its_id(house: MakeHouse, file: Path) -> None:
    """One id stands in the answer's header, in the audit trail, on the page and in what the API server logs."""
    watcher = await watched(house, file, "east")
    await watcher.house.call("east")
    [record] = watcher.records()
    [call] = (await watcher.page())["calls"]
    [agent] = [seen.agent for seen in watcher.house.clusters["east"].requests if seen.path == "/api/v1/pods"]
    assert record["request_id"] == call["id"]
    assert agent.endswith(f"(tool=resource_list; request={call['id']})")


async def test_odd_values_make_no_labels(house: MakeHouse, file: Path) -> None:
    """Whatever callers type, the number of series stays what settings and the catalogue make it."""
    watcher = await watched(house, file, "east", reads_per_minute=1_000_000)

    async def odd(word: str, number: int) -> None:
        await watcher.house.call("east", f"{word}-{number}")
        await watcher.house.call("east", "resource_list", resource=f"{word}{number}", namespace=f"{word}{number}")
        await watcher.house.call("east", "resource_get", resource="pods", name=word * number, namespace=f"../{number}")
        await watcher.house.post("east", {"jsonrpc": "2.0", "id": number, "method": f"{word}/{number}"})
        await watcher.house.call("east", token=f"eyJhbGciOiJSUzI1NiJ9.e{number}.{word}")

    async def series() -> set[str]:
        async with aiohttp.ClientSession() as client, client.get(f"{watcher.house.url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}

    for number in (*range(1, 20), 300):
        await odd("one", number)
    before = await series()
    for number in (*range(1, 20), 300):
        await odd("another", number)
    assert await series() == before


async def test_nothing_is_shown_that_is_not_described(house: MakeHouse, file: Path) -> None:
    """Every metric of the gateway's own stands in the catalogue, and most of it shows after one call."""
    watcher = await watched(house, file, "east")
    await watcher.house.call("east")
    async with aiohttp.ClientSession() as client, client.get(f"{watcher.house.url}/metrics") as answer:
        families = {family.name for family in text_string_to_metric_families(await answer.text())}
    ours = {name.removeprefix("kube_mcp_gateway_") for name in families if not name.startswith("process_")}
    described = {each.name for each in CATALOGUE}
    assert ours <= described
    # The rest needs TLS on the agents' port.
    assert {name for name in described - ours if "tls" not in name} == set()
