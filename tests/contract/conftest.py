"""The contract: one suite, run against an embedded cluster and against a real API server.

Each test says one behaviour of Kubernetes. Where the two differ, the embedded one is wrong. What a bare control plane
cannot show (a running container, metrics.k8s.io) asks for `embedded` and says so.
"""

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import aiohttp
import orjson
import pytest
from yarl import URL

from gateway.demo import EmbeddedCluster
from tests.cluster.cluster import RealCluster

APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

_numbers = count()


Cluster = EmbeddedCluster | RealCluster
"""Both have server, ca_pem, token, sign, request and apply."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came over the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)

    @property
    def message(self) -> str:
        """The Status's message."""
        return str(self.json["message"])


@dataclass(frozen=True, slots=True)
class Http:
    """A raw client of one API server, with cluster-admin's token unless another is given."""

    session: aiohttp.ClientSession
    server: str
    token: str
    agent: str = "contract/1"

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request, its path as it stands."""
        data = body if body is None or isinstance(body, bytes | str) else orjson.dumps(body)
        given = self.token if token is None else token
        sent = {"Accept": accept, "User-Agent": self.agent, **({"Authorization": f"Bearer {given}"} if given else {})}
        if data is not None:
            sent["Content-Type"] = content_type
        if data is not None and len(data) > 1 << 20:
            data = io.BytesIO(data.encode() if isinstance(data, str) else data)  # type: ignore[assignment]
        url = URL(self.server + path, encoded=True)
        async with self.session.request(
            method, url, data=data, headers={**sent, **(headers or {})}, allow_redirects=False
        ) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def get(self, path: str, **more: Any) -> Reply:
        """GET."""
        return await self("GET", path, **more)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that asks for `cluster` on both."""
    if "cluster" in metafunc.fixturenames:
        metafunc.parametrize("cluster", ["embedded", "real"], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the real cluster be a fixture of just the tests that run on it, so that it is built before they begin."""
    for item in items:
        call = getattr(item, "callspec", None)
        if call is not None and call.params.get("cluster") == "real":
            item.fixturenames.append("real_cluster")  # type: ignore[attr-defined]


@pytest.fixture
async def embedded() -> AsyncIterator[EmbeddedCluster]:
    """An embedded cluster, for what a bare control plane has not."""
    async with EmbeddedCluster("contract") as cluster:
        yield cluster


@pytest.fixture
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """An embedded cluster of one's own, or the real one that all tests share."""
    if request.param == "embedded":
        async with EmbeddedCluster("contract") as embedded:
            yield embedded
    else:
        yield request.getfixturevalue("real_cluster")


@asynccontextmanager
async def connect(cluster: Cluster) -> AsyncIterator[Http]:
    """Open a raw client."""
    trust = ssl.create_default_context(cadata=cluster.ca_pem.decode())
    connector = aiohttp.TCPConnector(ssl=trust)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(20)) as session:
        yield Http(session, cluster.server, await cluster.token())


@pytest.fixture
async def http(cluster: Cluster) -> AsyncIterator[Http]:
    """A raw client of `cluster`."""
    async with connect(cluster) as client:
        yield client


@pytest.fixture
async def space(cluster: Cluster) -> AsyncIterator[str]:
    """A namespace of the test's own."""
    name = f"contract-{next(_numbers)}-{id(cluster) % 9973}"
    await cluster.apply(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
    yield name
    await cluster.request("DELETE", f"/api/v1/namespaces/{name}")


async def until(probe: Callable[[], Awaitable[Any]], *, seconds: float = 15) -> Any:
    """Return what a probe finds once it finds something; fails after so many seconds."""
    async with asyncio.timeout(seconds):
        while not (found := await probe()):  # noqa: ASYNC110 - there is nothing to wait on but the answer
            await asyncio.sleep(0.05)  # what is waited for has no event of its own
    return found


def config_map(name: str, **more: Any) -> dict[str, Any]:
    """Return a ConfigMap."""
    labels = more.pop("labels", None)
    metadata = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **more}


def deployment(name: str, *, image: str = "example.test/app:1", **spec: Any) -> dict[str, Any]:
    """Return a Deployment that wants no pods, so that controllers leave it alone."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": image}]}}
    whole = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": whole}
