"""Long lists: the gateway's time for a thousand pods over the API server's own, and what it holds of long answers."""

import asyncio
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any
from urllib.parse import quote

from tests.bench import processes
from tests.bench.embedded import OBJECTS_NAMESPACE, World, embedded
from tests.bench.hot import listed
from tests.bench.load import MODERN, CallFailedError, Client, Connection, Target
from tests.bench.plan import Plan
from tests.bench.processes import Served, tell
from tests.bench.report import Result, Spread, Table
from tests.cluster.cluster import RealCluster

PODS = 1000
PAGE = 500
PAGES = PODS // PAGE
OBJECTS = 20_000
HUGE = 200 << 20
WHOLE = 1 << 20
"""Bytes of one answer, so that nothing of a page is cut."""
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PATHS = {"demo": "/api/v1/namespaces/demo/pods", "": "/api/v1/pods"}
ASKED = [("demo", PAGE), ("", PAGE), ("demo", 1)]
"""Namespace and rows of a page; pages of one row show what any call takes, whatever it lists."""
_CONTINUE = re.compile(r"\ncontinue: (\S+)")


def run(plan: Plan) -> Result:
    """Time lists on a real API server, then watch the memory before an embedded one."""
    times = _timed(plan)
    memory = asyncio.run(_memory())
    return Result("list", [_times_table(times), _memory_table(memory)], {"times": times, "memory": memory})


def _timed(plan: Plan) -> list[dict[str, Any]]:
    tell(f"list: starting an API server with {PODS:,} pods")
    with ExitStack() as stack:
        cluster = stack.enter_context(RealCluster("bench-list", controllers=False))
        folder = Path(stack.enter_context(TemporaryDirectory()))
        token = asyncio.run(_filled(cluster))
        served = stack.enter_context(processes.gateway(folder, [listed(cluster, answerBytes=WHOLE)]))
        return asyncio.run(_compared(cluster, served, token, rounds=max(plan.rounds * 4, 12)))


async def _filled(cluster: RealCluster) -> str:
    # Without controllers nobody makes the account that every pod needs.
    await cluster.apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: demo}}")
    with ThreadPoolExecutor(8) as threads:
        answers = threads.map(lambda n: cluster.admin.must("POST", PATHS["demo"], _pod(n)), range(PODS))
        assert len(list(answers)) == PODS
    return await cluster.token()


def _pod(number: int) -> dict[str, Any]:
    container = {
        "name": "web",
        "image": "registry.example/shop/web:1.4.2",
        "env": [{"name": f"SETTING_{n}", "value": f"value {n}"} for n in range(8)],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
    }
    labels = {"app": f"web-{number % 20}", "tier": "front", "app.kubernetes.io/managed-by": "bench"}
    metadata = {"name": f"web-{number:05}", "namespace": "demo", "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


async def _compared(cluster: RealCluster, served: Served, token: str, rounds: int) -> list[dict[str, Any]]:
    """Time both ways in turns; the least of each counts, because other work on the machine only ever adds."""
    authorization = f"Bearer {token}"
    rows = []
    for namespace, page in ASKED:
        arguments = {"resource": "pods", "limit": page} | ({"namespace": namespace} if namespace else {})
        target = Target("gateway", f"http://127.0.0.1:{served.port}/mcp", token, "resource_list", arguments, served.pid)
        client = await Client.opened(target, MODERN)
        direct = Connection("API server", *await Connection.streams(cluster.server, cluster.ca_pem.decode()))
        ways = {
            "direct": partial(_direct, direct, PATHS[namespace], page, authorization),
            "gateway": partial(_through, client),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(rounds + 1):
            tell(f"list: {PAGES} pages of {page}, {namespace or 'all namespaces'}, turn {turn} of {rounds}")
            for way, ask in ways.items():
                started = perf_counter()
                found = await ask()
                if turn:  # the first one warms
                    seconds[way].append(perf_counter() - started)
                assert found == PAGES * page, (way, found)
        client.close()
        direct.close()
        ratios = [own / least for own, least in zip(seconds["gateway"], seconds["direct"], strict=True)]
        rows.append(
            {
                "namespace": namespace,
                "page": page,
                "ms": {way: Spread.of([each * 1000 for each in times]).json() for way, times in seconds.items()},
                "ratio_of_least": min(seconds["gateway"]) / min(seconds["direct"]),
                "ratio": Spread.of(ratios).json(),
            }
        )
    return rows


async def _direct(connection: Connection, path: str, page: int, authorization: str) -> int:
    """Read the pages as the API server's own tables; return how many rows there were."""
    include = "None" if "/namespaces/" in path else "Metadata"
    count, following = 0, ""
    for _ in range(PAGES):
        target = f"{path}?limit={page}&includeObject={include}{following}"
        head = f"GET {target} HTTP/1.1\r\nHost: api\r\nAuthorization: {authorization}\r\nAccept: {TABLE}\r\n\r\n"
        _, body = await connection.exchange(head.encode())
        count += body.count(b'{"cells":[')
        # The token stands in the metadata at the front; the rest of the body nobody has to parse here.
        found = re.search(rb'"continue":"([^"]+)"', body[:4096])
        following = f"&continue={quote(found[1].decode())}" if found else ""
    return count


async def _through(client: Client) -> int:
    """Read the pages of the client's list; return how many rows there were, counted as those of the API server are."""
    arguments = dict(client.target.arguments)
    row = rb"\nweb-" if "namespace" in arguments else rb"\ndemo\tweb-"
    count = 0
    for _ in range(PAGES):
        _, body = await client.exchange(client.tool_call(MODERN, arguments))
        count += body.count(row)
        # Nothing but the token and what ends a JSON-RPC answer comes behind the rows.
        found = re.search(rb"\\ncontinue: ([^\"\\]+)", body[-4096:])
        if found:
            arguments["continue"] = found[1].decode()
    return count


async def _memory() -> list[dict[str, Any]]:
    tell(f"list: {OBJECTS:,} objects, by pages")
    with TemporaryDirectory() as folder, embedded(World(objects=OBJECTS, huge=HUGE)) as world:
        cluster = world.clusters[0]
        section = cluster.listed(limits={"answerBytes": WHOLE})
        with processes.gateway(Path(folder), [section]) as served:
            url, token = f"http://127.0.0.1:{served.port}/mcp", cluster.tokens[0]
            wanted = {"resource": "configmaps", "namespace": OBJECTS_NAMESPACE, "limit": PAGE}
            client = await Client.opened(Target("gateway", url, token, "resource_list", wanted, served.pid), MODERN)
            await client.call(client.tool_call(MODERN, wanted | {"limit": 1}))
            rows = [await _grown(served, "one page of 500, as a table", client, wanted)]
            rows.append(await _grown(served, "one page of 500, whole objects", client, wanted | {"output": "json"}))
            rows.append(await _paged(served, client, wanted))
            rows.append(await _grown(served, "a list of 200 MB, given up", client, {"resource": "endpoints"}))
            client.close()
            return rows


async def _grown(served: Served, words: str, client: Client, arguments: dict[str, Any]) -> dict[str, Any]:
    before = processes.resident(served.pid)
    processes.forget_peak(served.pid)
    try:
        answered = len(await client.call(client.tool_call(MODERN, arguments)))
    except CallFailedError:
        answered = 0
    after = processes.resident(served.pid)
    return _row(words, before, processes.peak(served.pid), after, answered)


async def _paged(served: Served, client: Client, arguments: dict[str, Any]) -> dict[str, Any]:
    """Read all pages twice; what counts is what the second time adds, after the first one warmed."""
    before, pages = 0.0, 0
    for _ in range(2):
        before, pages, wanted = processes.resident(served.pid), 0, arguments
        processes.forget_peak(served.pid)
        while True:
            text = await client.call(client.tool_call(MODERN, wanted))
            pages += 1
            if (following := _CONTINUE.search(text)) is None:
                break
            wanted = arguments | {"continue": following[1]}
    words = f"{OBJECTS:,} objects in {pages} pages"
    return _row(words, before, processes.peak(served.pid), processes.resident(served.pid), pages)


def _row(words: str, before: float, most: float, after: float, answered: int) -> dict[str, Any]:
    return {"what": words, "peak_kib": most - before, "kept_kib": after - before, "answered": answered}


def _times_table(rows: Sequence[dict[str, Any]]) -> Table:
    return Table(
        f"Two pages of pods as tables, of {PODS:,} that there are",
        (
            "asked for",
            "rows a page",
            "API server ms",
            "through the gateway ms",
            "ratio of the least",
            "ratio of the turns",
        ),
        [
            (
                f"namespace {row['namespace']}" if row["namespace"] else "all namespaces",
                str(row["page"]),
                str(Spread(**row["ms"]["direct"])),
                str(Spread(**row["ms"]["gateway"])),
                f"{row['ratio_of_least']:.2f}",
                str(Spread(**row["ratio"])),
            )
            for row in rows
        ],
        "The same client asks both for the same pages. The aim is 1.25; pages of one row show what any call takes.",
    )


def _memory_table(rows: Sequence[dict[str, Any]]) -> Table:
    return Table(
        "The gateway's resident memory during long answers",
        ("answer", "peak over before MB", "still held after MB"),
        [(row["what"], f"{row['peak_kib'] / 1024:.1f}", f"{row['kept_kib'] / 1024:.1f}") for row in rows],
    )
