import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from quart import Quart
from quart import typing as quart_typing

from gateway.admin.options import AdminOptions
from gateway.app import create_app
from gateway.clusters.options import ClusterOptions
from gateway.demo import EmbeddedCluster
from gateway.settings import Settings
from gateway.telemetry.audit import AuditOptions
from tests.workbench import listed

ACCEPT = "application/json, text/event-stream"


@dataclass(slots=True)
class House:
    """A gateway before embedded clusters, with its admin listener at `url`."""

    app: Quart
    url: str
    client: quart_typing.TestClientProtocol
    clusters: dict[str, EmbeddedCluster]
    tokens: dict[str, str] = field(default_factory=dict)

    async def post(self, cluster: str, body: dict[str, Any], *, token: str = "", **headers: str) -> tuple[int, Any]:
        """Send one message, and return status and answer."""
        if not token and cluster not in self.tokens:
            self.tokens[cluster] = await self.clusters[cluster].token()
        more = {"Authorization": f"Bearer {token or self.tokens[cluster]}", "Accept": ACCEPT}
        response = await self.client.post("/mcp", json=body, headers=more | headers)
        answer = await response.get_data(as_text=True)
        return response.status_code, json.loads(answer) if answer.startswith("{") else answer

    async def call(self, cluster: str, tool: str = "resource_list", *, token: str = "", **arguments: str) -> str:
        """Call a tool, and return what the agent reads; the status where there is no answer."""
        arguments = arguments or {"resource": "pods"}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
        status, answer = await self.post(cluster, body, token=token)
        if status != 200:
            return str(status)
        return str(answer["result"]["content"][0]["text"] if "result" in answer else answer["error"]["message"])


MakeHouse = Callable[..., Awaitable[House]]


@asynccontextmanager
async def housed(
    *names: str,
    unused: int = 0,
    labels: dict[str, str] | None = None,
    limits: dict[str, Any] | None = None,
    audit: AuditOptions | None = None,
    certificate_days: int = 365,
    **admin: Any,
) -> AsyncIterator[House]:
    """Run a gateway before embedded clusters of these names, and so many more that nobody uses."""
    labels = labels or {}
    async with AsyncExitStack() as stack:
        clusters = {
            name: await stack.enter_async_context(EmbeddedCluster(name, certificate_days=certificate_days))
            for name in names
        }
        options = [
            listed(cluster, label=labels.get(name, ""), limits=limits or {}) for name, cluster in clusters.items()
        ]
        options += [
            ClusterOptions(name=f"cluster-{number:03}", server=f"https://cluster-{number:03}.example:6443")
            for number in range(unused)
        ]
        admin_options, audit = AdminOptions(port=0, **admin), audit or AuditOptions()
        app = create_app(Settings(clusters=tuple(options), admin=admin_options, audit=audit))
        async with app.test_app() as running:
            yield House(app, app.extensions["admin_url"], running.test_client(), clusters)


@pytest.fixture
async def house() -> AsyncIterator[MakeHouse]:
    """Give the factory of gateways."""
    async with AsyncExitStack() as stack:

        async def make(*names: str, **more: Any) -> House:
            return await stack.enter_async_context(housed(*names, **more))

        yield make
