"""Real API servers, the real gateway and its store, killed, stopped and restarted while calls are in flight."""

import asyncio
import datetime
import itertools
import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.cluster.cluster import RealCluster
from tests.faults.crew import End, Said, check_words, check_writes, tally
from tests.journeys.conftest import GatewayProcess, describe, running_gateway
from tests.ports import free_port
from tests.store import running_store

pytestmark = pytest.mark.slow

LIMITS = {"connectSeconds": 1, "firstByteSeconds": 3, "callSeconds": 8, "breakerSeconds": 1}
POLICY = {"writes": ["apply"], "confirmation": "none"}
PREFIX = "io.modelcontextprotocol/"
UNVERIFIED = "TLS certificate could not be verified"
NAMESPACE = "faults"
SENT = re.compile(
    r'"HTTP" verb="(?:APPLY|PATCH)" URI="/api/v1/namespaces/faults/configmaps/([a-z0-9-]+)\?([^"]*)".* resp=2'
)


def settings(cluster: RealCluster, **more: Any) -> list[dict[str, Any]]:
    """Return the cluster's section: short time-outs, writes without a question."""
    return describe(cluster, limits=LIMITS, policy=POLICY, **more)


async def prepare(cluster: RealCluster) -> str:
    """Make room for what is written, and return a caller's token."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    await cluster.apply(json.dumps(namespace))
    return await cluster.token()


class Crew:
    """Eight callers that call without a pause, four of them to write something new each time."""

    def __init__(self, gateway: GatewayProcess, token: str) -> None:
        self.url = gateway.url
        self.token = token
        self.ends: list[End] = []
        self.under_way = 0
        self._numbers = itertools.count()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Let them work as long as the block lasts, and until each has ended its last call."""
        stopping = asyncio.Event()
        async with httpx2.AsyncClient(timeout=30, trust_env=False) as http, asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(self._work(http, stopping, writes=number % 2 == 0))
            try:
                yield
            finally:
                stopping.set()

    async def _work(self, http: httpx2.AsyncClient, stopping: asyncio.Event, *, writes: bool) -> None:
        while not stopping.is_set():
            name = f"w-{next(self._numbers)}" if writes else ""
            self.under_way += 1
            said = await self.call(http, name)
            self.under_way -= 1
            self.ends.append(ended(name, said))
            if said.failed:
                await asyncio.sleep(0.05)

    async def call(self, http: httpx2.AsyncClient, name: str = "") -> Said:
        """Read the namespace, or write a ConfigMap of this name; a connection that breaks says nothing of a write."""
        tool, arguments = "resource_get", {"resource": "namespace", "name": NAMESPACE}
        if name:
            document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}}
            tool, arguments = "resource_apply", {"manifest": json.dumps(document)}
        meta = {f"{PREFIX}protocolVersion": "2026-07-28", f"{PREFIX}clientCapabilities": {}}
        parameters = {"name": tool, "arguments": arguments, "_meta": meta}
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call",
            "Mcp-Name": tool,
        }
        try:
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": parameters}
            answer = await http.post(self.url, json=message, headers=headers)
        except httpx2.ConnectError:
            return Said("no connection to the gateway: nothing was sent", failed=True)
        except httpx2.HTTPError as error:
            return Said(
                f"the connection to the gateway broke ({type(error).__name__}): may have been done", failed=True
            )
        if answer.status_code != 200:
            return Said(f"HTTP {answer.status_code}: {answer.text}", failed=True)
        events = [line[5:] for line in answer.text.splitlines() if line.startswith("data:") and line[5:].strip()]
        document = json.loads(events[-1] if events else answer.text)
        if "error" in document:
            return Said(document["error"]["message"], failed=True)
        result = document["result"]
        return Said(result["content"][0]["text"], failed=bool(result.get("isError")))

    async def until(self, count: int, became: str) -> None:
        """Wait until so many more calls ended like this."""
        wanted = sum(end.became == became for end in self.ends) + count
        async with asyncio.timeout(60):
            while sum(end.became == became for end in self.ends) < wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


def ended(name: str, said: Said) -> End:
    """Return what became of a call."""
    if not said.failed:
        return End(name, "answered", said.text)
    return End(name, "unclear" if "may have been" in said.text else "failed", said.text)


async def existing(cluster: RealCluster) -> set[str]:
    """Return the names of what was written."""
    _, body = await cluster.request("GET", f"/api/v1/namespaces/{NAMESPACE}/configmaps")
    return {item["metadata"]["name"] for item in json.loads(body)["items"]}


async def check(crew: Crew, cluster: RealCluster) -> None:
    """Hold that every call ended in an answer or a clear error, and that every write is what was said of it."""
    check_words(crew.ends)
    exist = await existing(cluster)
    log = (cluster.directory / "kube-apiserver.log").read_text(errors="replace")
    sent = Counter(name for name, query in SENT.findall(log) if "dryRun" not in query)
    assert sent, "the API server's log has none of the writes"
    check_writes(crew.ends, exist, sent)
    print(tally(crew.ends))  # noqa: T201


async def test_the_api_server_is_killed_under_load_and_comes_back(fresh_cluster: RealCluster, tmp_path: Path) -> None:
    """Eight calls are in flight whenever it dies; afterwards all are answered again, with the gateway as it was."""
    token = await prepare(fresh_cluster)
    with running_gateway(tmp_path, settings(fresh_cluster), rateLimiting=False) as gateway:
        crew = Crew(gateway, token)
        async with crew.at_work():
            await crew.until(20, "answered")
            assert crew.under_way == 8
            await fresh_cluster.kill_apiserver()
            await crew.until(20, "failed")
            await fresh_cluster.start_apiserver()
            await crew.until(40, "answered")
        assert gateway.metric("kube_mcp_gateway_breaker_openings_total", cluster="fresh") >= 1
        assert gateway.metric("kube_mcp_gateway_pool_leases") == 0
    await check(crew, fresh_cluster)


async def test_etcd_is_stopped_under_load_and_goes_on(fresh_cluster: RealCluster, tmp_path: Path) -> None:
    """What needs etcd ends in time and says, of a write, that it may have been done; then all goes on."""
    token = await prepare(fresh_cluster)
    with running_gateway(tmp_path, settings(fresh_cluster), rateLimiting=False) as gateway:
        crew = Crew(gateway, token)
        async with crew.at_work():
            await crew.until(20, "answered")
            with stopped(etcd_of(fresh_cluster)):
                await crew.until(8, "failed")
            await crew.until(40, "answered")
    await check(crew, fresh_cluster)


async def test_the_ca_is_rotated_under_load(fresh_cluster: RealCluster, tmp_path: Path) -> None:
    """With the new CA in the file, the gateway goes on by itself; until then nothing goes to a stranger."""
    token = await prepare(fresh_cluster)
    with running_gateway(tmp_path, settings(fresh_cluster), rateLimiting=False) as gateway:
        crew = Crew(gateway, token)
        async with crew.at_work():
            await crew.until(20, "answered")
            await fresh_cluster.rotate_ca()
            await crew.until(40, "answered")
    await check(crew, fresh_cluster)


async def test_the_certificate_ends_under_load_and_is_renewed(fresh_cluster: RealCluster, tmp_path: Path) -> None:
    """Nothing goes to an API server whose certificate has ended; callers are told so, and served again afterwards."""
    token = await prepare(fresh_cluster)
    over = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    with running_gateway(tmp_path, settings(fresh_cluster), rateLimiting=False) as gateway:
        crew = Crew(gateway, token)
        async with crew.at_work():
            await crew.until(20, "answered")
            await fresh_cluster.renew_certificate(until=over)
            before = len(crew.ends) + crew.under_way
            async with asyncio.timeout(60):
                while not any(UNVERIFIED in end.words for end in crew.ends[before:]):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            refused = crew.ends[before:]
            await fresh_cluster.renew_certificate()
            await crew.until(40, "answered")
    assert not [end for end in refused if end.became == "unclear"]
    await check(crew, fresh_cluster)


async def test_the_signing_key_is_rotated_under_load(fresh_cluster: RealCluster, tmp_path: Path) -> None:
    """Holders of old tokens that the cluster still accepts go on, and so do those of new ones, without a restart."""
    token = await prepare(fresh_cluster)
    with running_gateway(tmp_path, settings(fresh_cluster), rateLimiting=False) as gateway:
        crew = Crew(gateway, token)
        async with crew.at_work():
            await crew.until(20, "answered")
            await fresh_cluster.rotate_signing_key(keep_old=True)
            await crew.until(20, "answered")
            crew.token = await fresh_cluster.token()
            await crew.until(40, "answered")
        assert not [end for end in crew.ends if end.words.startswith("HTTP 401")]
    await check(crew, fresh_cluster)


async def test_the_gateway_is_killed_under_load_and_started_again(fresh_cluster: RealCluster, tmp_path: Path) -> None:
    """What was in flight may have been done; the next gateway takes the same tokens, and nothing is done twice."""
    token = await prepare(fresh_cluster)
    port = free_port()
    with (
        suppress(AssertionError),
        running_gateway(tmp_path, settings(fresh_cluster), rateLimiting=False, listen={"port": port}) as gateway,
    ):
        crew = Crew(gateway, token)
        async with crew.at_work():
            await crew.until(20, "answered")
            assert crew.under_way == 8
            gateway.process.kill()
            await crew.until(8, "failed")
            with running_gateway(tmp_path, settings(fresh_cluster), rateLimiting=False, listen={"port": port}):
                await crew.until(40, "answered")
    await check(crew, fresh_cluster)


async def test_sigterm_under_load_ends_no_call(fresh_cluster: RealCluster, tmp_path: Path) -> None:
    """Every call that was begun is answered; those that come later find no gateway, and nothing of them is done."""
    token = await prepare(fresh_cluster)
    with running_gateway(tmp_path, settings(fresh_cluster), rateLimiting=False) as gateway:
        crew = Crew(gateway, token)
        async with crew.at_work():
            await crew.until(20, "answered")
            assert crew.under_way == 8
            gateway.process.terminate()
            await crew.until(8, "failed")
        assert gateway.process.wait(20) == 0
    # A connection that closes just when its next request comes breaks (RFC 9112, section 9.6); that was not begun.
    broken = {end.wrote for end in crew.ends if end.became == "unclear"}
    assert len(broken) <= 8
    assert not broken & await existing(fresh_cluster)
    await check(crew, fresh_cluster)


async def test_the_shared_store_is_killed_under_load(fresh_cluster: RealCluster, tmp_path: Path) -> None:
    """Calls go on and are counted by each replica alone."""
    token = await prepare(fresh_cluster)
    generous = {"readsPerMinute": 1_000_000, "writesPerMinute": 1_000_000}
    listed = describe(fresh_cluster, limits=LIMITS | generous, policy=POLICY)
    with running_store(tmp_path) as store, running_gateway(tmp_path, listed, sharedStore=store.url) as gateway:
        crew = Crew(gateway, token)
        async with crew.at_work():
            await crew.until(20, "answered")
            store.process.kill()
            store.process.wait()
            await crew.until(40, "answered")
        assert gateway.metric("kube_mcp_gateway_rate_limits_alone") == 1
    assert {end.became for end in crew.ends} == {"answered"}
    await check(crew, fresh_cluster)


async def test_tokens_out_of_their_time_are_refused_and_clocks_may_differ_a_little(
    fresh_cluster: RealCluster, tmp_path: Path
) -> None:
    """An issuer's clock that is ahead by less than the leeway is no reason to refuse; a token that has ended is."""
    await prepare(fresh_cluster)
    claims = decoded(await fresh_cluster.token())
    ahead, far, over = int(time.time()) + 5, int(time.time()) + 120, int(time.time()) - 5
    with running_gateway(tmp_path, settings(fresh_cluster), rateLimiting=False) as gateway:
        async with httpx2.AsyncClient(timeout=30, trust_env=False) as http:
            crew = Crew(gateway, "")
            heard = []
            for times in ({"nbf": ahead, "iat": ahead}, {"nbf": far, "iat": far}, {"exp": over}):
                crew.token = fresh_cluster.sign({**claims, **times})
                heard.append(await crew.call(http))
    early, too_early, late = heard
    assert not early.failed, early
    assert too_early.text.startswith("HTTP 401")
    assert late.text.startswith("HTTP 401")


def decoded(token: str) -> dict[str, Any]:
    """Return a token's claims."""
    import jwt  # noqa: PLC0415

    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def etcd_of(cluster: RealCluster) -> int:
    """Return the process of the cluster's etcd."""
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes().split(b"\0") if folder.name.isdigit() else []
            if any(b"data-dir" in word and os.fsencode(cluster.directory) in word for word in command):
                return int(folder.name)
    raise AssertionError("the cluster's etcd is not to be found")


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Let a process stand still while the block lasts."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
