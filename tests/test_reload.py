"""Settings that change while the gateway serves, seen by its callers."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.clusters.options import ClusterOptions
from gateway.demo import EmbeddedCluster
from gateway.reload import difference
from tests.journeys.conftest import call, connected

pytestmark = pytest.mark.slow

NAMES = ("east", "west", "north")
CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "resource_list", "arguments": {"resource": "namespaces", "limit": 1}},
}
HEADERS = {"Accept": "application/json, text/event-stream"}


def listed(cluster: EmbeddedCluster, **more: Any) -> dict[str, Any]:
    """Return a cluster's entry."""
    entry = {"name": cluster.name, "server": cluster.server, "certificateAuthorityData": cluster.ca_pem.decode()}
    return {**entry, **more}


@dataclass(slots=True)
class Served:
    """A gateway in front of embedded clusters: its process, its settings, and what it logs."""

    process: asyncio.subprocess.Process
    file: Path
    clusters: dict[str, EmbeddedCluster]
    tokens: dict[str, str]
    url: str = ""
    admin: str = ""
    heard: list[dict[str, Any]] = field(default_factory=list)

    async def says(self, event: str) -> dict[str, Any]:
        """Read the log up to this event."""
        assert self.process.stderr is not None
        async with asyncio.timeout(30):
            while line := await self.process.stderr.readline():
                self.heard.append(json.loads(line))
                if self.heard[-1]["event"] == event:
                    return self.heard[-1]
        raise AssertionError(f"it ended without {event!r}: {self.heard}")

    def write(self, *clusters: dict[str, Any], **settings: Any) -> None:
        """Write the settings as a mounted ConfigMap changes: a new folder, and a link that is swapped."""
        text = json.dumps({"log": {"format": "json"}, "rateLimiting": False, "clusters": clusters, **settings})
        self.write_text(text)

    def write_text(self, text: str) -> None:
        """Swap a text in."""
        folder = self.file.parent
        version = folder / f"..{len(list(folder.iterdir()))}"
        version.mkdir()
        (version / self.file.name).write_text(text)
        (folder / "..new").symlink_to(version.name)
        (folder / "..new").replace(folder / "..data")
        if not self.file.is_symlink():
            self.file.symlink_to(Path("..data") / self.file.name)

    async def call(self, client: httpx2.AsyncClient, name: str, path: str = "") -> httpx2.Response:
        """Make one call with a cluster's token."""
        headers = {**HEADERS, "Authorization": f"Bearer {self.tokens[name]}"}
        return await client.post(f"{self.url}{path}", json=CALL, headers=headers)

    async def metric(self, client: httpx2.AsyncClient, name: str) -> float:
        """Read one metric without labels."""
        text = (await client.get(f"{self.admin}/metrics")).text
        (value,) = [line.split()[1] for line in text.splitlines() if line.startswith(f"kube_mcp_gateway_{name} ")]
        return float(value)


@asynccontextmanager
async def serving(tmp_path: Path, *first: str) -> AsyncIterator[Served]:
    """Serve the clusters of these names, with others running beside them."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    clusters = {name: EmbeddedCluster(name) for name in NAMES}
    for cluster in clusters.values():
        await cluster.start()
    process = None
    try:
        tokens = {name: await cluster.token() for name, cluster in clusters.items()}
        served = Served(process=None, file=folder / "gateway.yaml", clusters=clusters, tokens=tokens)  # type: ignore[arg-type]
        served.write(*(listed(clusters[name]) for name in first))
        process = served.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", "from gateway.cli import main; main()", "serve", "--port", "0", "--config", str(served.file)),
            env={k: v for k, v in os.environ.items() if not k.startswith("KUBE_MCP_GATEWAY_")}
            | {"KUBE_MCP_GATEWAY_ADMIN__PORT": "0"},
            stderr=asyncio.subprocess.PIPE,
        )
        started = await served.says("serving")
        served.url, served.admin = started["url"], started["admin"]
        yield served
    finally:
        if process is not None and process.returncode is None:
            process.terminate()
            await process.communicate()
        for cluster in clusters.values():
            await cluster.stop()


async def test_clusters_come_and_go_under_load_and_no_call_elsewhere_notices(tmp_path: Path) -> None:
    """Calls and a session on `east` go on without one failure while `west` is added and `north` removed: 401 there."""
    async with (
        serving(tmp_path, "east", "north") as served,
        httpx2.AsyncClient(timeout=30) as client,
        AsyncExitStack() as connections,
    ):
        outcomes: Counter[str] = Counter()
        ended = asyncio.Event()

        async def load() -> None:
            async with httpx2.AsyncClient(timeout=30) as own:
                while not ended.is_set():
                    answer = await served.call(own, "east")
                    outcomes["ok" if '"isError":false' in answer.text.replace(" ", "") else answer.text] += 1

        session = await connections.enter_async_context(connected(served.url, served.tokens["east"], "legacy"))
        callers = [asyncio.create_task(load()) for _ in range(4)]
        assert (await served.call(client, "north")).status_code == 200
        assert (await served.call(client, "west")).status_code == 401
        created = await served.metric(client, "pool_renewals_total")
        served.write(listed(served.clusters["east"]), listed(served.clusters["west"]))
        told = await served.says("settings_reloaded")
        assert (told["added"], told["removed"], told["changed"]) == (["west"], ["north"], [])
        assert "cluster west" in (await served.call(client, "west")).text
        gone = await served.call(client, "north")
        assert gone.status_code == 401
        assert "not accepted for the cluster" in gone.text
        before = outcomes["ok"]
        while outcomes["ok"] < before + 20:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        ended.set()
        await asyncio.gather(*callers)
        assert set(outcomes) == {"ok"}
        assert "cluster east ·" in await call(session, "resource_list", resource="namespaces")
        assert await served.metric(client, "pool_renewals_total") == created + 1


async def test_policy_and_limits_act_on_the_next_call(tmp_path: Path) -> None:
    """A kind that was denied meanwhile is refused to the same token; what takes a restart is told in the log."""
    async with serving(tmp_path, "east") as served, httpx2.AsyncClient(timeout=30) as client:
        assert "cluster east ·" in (await served.call(client, "east")).text
        served.write(listed(served.clusters["east"], label="PROD", policy={"kinds": {"deny": ["namespaces"]}}))
        assert (await served.says("settings_reloaded"))["changed"] == ["east"]
        assert "policy for this cluster does not allow namespaces" in (await served.call(client, "east")).text
        served.write(listed(served.clusters["east"], limits={"readsPerMinute": 1}), rateLimiting=True)
        waiting = await served.says("settings_need_restart")
        assert waiting["settings"] == ["rateLimiting"]
        assert "cluster east ·" in (await served.call(client, "east")).text


async def test_a_name_that_is_given_to_another_cluster_brings_no_token_there(tmp_path: Path) -> None:
    """Whoever was verified for the old `east` is refused, and not sent to what is called `east` now."""
    async with serving(tmp_path, "east") as served, httpx2.AsyncClient(timeout=30) as client:
        assert "cluster east ·" in (await served.call(client, "east")).text
        seen = served.clusters["west"].served
        served.write(listed(served.clusters["west"], name="east"))
        await served.says("settings_reloaded")
        assert (await served.call(client, "east", "/east")).status_code == 401
        assert served.clusters["west"].served == seen
        assert "cluster east ·" in (await served.call(client, "west", "/east")).text


async def test_settings_that_can_not_be_used_leave_everything_as_it_was(tmp_path: Path) -> None:
    """A mistake is loud in log and metric, and told once; the last good state serves, until the mistake is mended."""
    async with serving(tmp_path, "east") as served, httpx2.AsyncClient(timeout=30) as client:
        assert await served.metric(client, "settings_reload_failed") == 0
        loaded = await served.metric(client, "settings_loaded_timestamp_seconds")
        served.write(listed(served.clusters["east"], polcy={}), {"name": "west", "server": "http://west"})
        told = await served.says("settings_reload_failed")
        assert told["level"] == "error"
        assert len(told["problems"]) == 2
        assert "did you mean policy?" in told["problems"][0]
        assert await served.metric(client, "settings_reload_failed") == 1
        assert "cluster east ·" in (await served.call(client, "east")).text
        served.process.send_signal(signal.SIGHUP)
        served.write(listed(served.clusters["east"]), listed(served.clusters["west"]))
        assert (await served.says("settings_reloaded"))["added"] == ["west"]
        assert [heard["event"] for heard in served.heard].count("settings_reload_failed") == 1
        assert await served.metric(client, "settings_reload_failed") == 0
        assert await served.metric(client, "settings_loaded_timestamp_seconds") > loaded


async def test_sighup_reads_the_settings_at_once(tmp_path: Path) -> None:
    """What changed where nobody looks, such as a bundle the settings name, is taken when the operator says so."""
    async with serving(tmp_path, "east") as served:
        served.process.send_signal(signal.SIGHUP)
        told = await served.says("settings_reloaded")
        assert (told["added"], told["removed"], told["changed"]) == ([], [], [])


def options(name: str, **more: Any) -> ClusterOptions:
    """Return a cluster's options."""
    return ClusterOptions.model_validate({"name": name, "server": f"https://{name}.example", **more})


@pytest.mark.parametrize(
    ("more", "retired", "renewed"),
    [
        ({"policy": {"writes": ["apply"]}}, [], []),
        ({"limits": {"connections": 2}}, [], ["a"]),
        ({"label": "PROD"}, [], ["a"]),
        ({"server": "https://other.example"}, ["a"], []),
        ({"address": "https://10.0.0.1"}, ["a"], []),
        ({"certificateAuthorityData": "x"}, ["a"], []),
        ({"tlsServerName": "x"}, ["a"], []),
        ({"insecure": True}, ["a"], []),
        ({"defaultAudience": "x", "limits": {"connections": 2}}, ["a"], []),
    ],
    ids=str,
)
def test_what_is_kept_ends_only_where_it_would_be_wrong(
    more: dict[str, Any], retired: list[str], renewed: list[str]
) -> None:
    """All survives a new policy, clients do not survive new limits, nothing survives another address."""
    before = (options("a"), options("b"))
    told = difference(before, (options("a", **more), options("b")))
    assert [cluster.name for cluster in told.retired] == retired
    assert [cluster.name for cluster in told.renewed] == renewed
    assert (told.added, told.removed, told.changed) == ((), (), ("a",))
    assert told.listed[1] is before[1]


def test_a_name_that_changes_is_another_cluster() -> None:
    """Principals carry the name, so nobody keeps one that is no longer listed."""
    told = difference((options("a"),), (options("b", server="https://a.example"),))
    assert (told.added, told.removed) == (("b",), ("a",))
    assert [cluster.name for cluster in told.retired] == ["a"]
