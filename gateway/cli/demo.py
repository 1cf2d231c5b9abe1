"""Boundary between a person without a cluster and the whole product: embedded clusters, gateway, and one client."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from mcp import Client

from gateway.admin import bind
from gateway.app import create_app
from gateway.cli.calling import called, connected, text_of
from gateway.cli.clusters import READ_WRITE
from gateway.cli.serve import loop_factory, serve_app
from gateway.demo import EmbeddedCluster
from gateway.demo.world import start_world
from gateway.errors import BadArgument
from gateway.settings import Settings, load_settings
from gateway.telemetry.logs import configure_logging

_TOKEN_SECONDS: Final = 24 * 3600
_ASK: Final = (
    "What is wrong in namespace shop of east, and why?",
    "Compare the deployments of namespace shop on east and west.",
    "Mend checkout on east, and see that it comes up.",
)
_LABELS: Final = {"east": "", "west": "PROD"}
_MENDING: Final = {**READ_WRITE, "force": True}
"""What is allowed on east: what is broken there belongs to another field manager, as it does in life."""

Visit = Callable[[str, Mapping[str, str]], Awaitable[None]]


def run(port: int, *, once: bool, call: tuple[str, str, str] | None) -> None:
    """Start both clusters and the gateway; make the call, show the tour, or serve until a signal.

    Raises:
        GatewayError: The port is taken, or the call can't be made.
    """
    sock = bind("127.0.0.1", port, otherwise="choose another with --port, or leave it out for a free one")
    visit: Visit = _greet
    if call is not None:
        cluster, tool, text = call
        arguments = _arguments(text)

        async def one_call(url: str, tokens: Mapping[str, str]) -> None:
            if cluster not in tokens:
                raise BadArgument(f"There is no cluster {cluster!r}: the demo has {' and '.join(tokens)}.")
            _show(await called(f"{url}/{cluster}", tokens[cluster], tool, arguments))

        visit = one_call
    elif once:
        visit = _tour

    async def everything() -> None:
        async with _world() as clusters:
            settings = _settings(clusters)
            # What the gateway logs would stand between the lines that a visitor reads.
            configure_logging(settings.log, sys.stderr)
            tokens = {cluster.name: await cluster.token(seconds=_TOKEN_SECONDS) for cluster in clusters}
            await serve_app(create_app(settings), settings, sock, visit=lambda url: visit(url, tokens))

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(everything())


@asynccontextmanager
async def _world() -> AsyncIterator[tuple[EmbeddedCluster, ...]]:
    async with AsyncExitStack() as stack:
        clusters = await start_world()
        for cluster in clusters:
            stack.push_async_callback(cluster.stop)
        yield clusters


def _settings(clusters: tuple[EmbeddedCluster, ...]) -> Settings:
    listed = [
        {
            "name": cluster.name,
            "label": _LABELS[cluster.name],
            "server": cluster.server,
            "certificateAuthorityData": cluster.ca_pem.decode(),
            "policy": {} if _LABELS[cluster.name] else _MENDING,
        }
        for cluster in clusters
    ]
    return load_settings(None, {"admin": {"port": 0}, "log": {"level": "error"}, "clusters": listed})


def _arguments(text: str) -> dict[str, Any]:
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise BadArgument(f"The arguments are not JSON: {error}.") from error
    if not isinstance(arguments, dict):
        raise BadArgument('The arguments must be a JSON object, such as \'{"resource": "pods"}\'.')
    return arguments


async def _greet(url: str, tokens: Mapping[str, str]) -> None:
    servers = {
        name: {"type": "http", "url": f"{url}/{name}", "headers": {"Authorization": f"Bearer {token}"}}
        for name, token in tokens.items()
    }
    questions = "\n".join(f"  - {question}" for question in _ASK)
    _show(
        f"Two embedded clusters, {' and '.join(tokens)}, behind {url}\n\n"
        f"For your client (mcp.json); the tokens live a day, the clusters until you press Ctrl-C:\n\n"
        f"{json.dumps({'mcpServers': servers}, indent=2)}\n\nThen ask your agent:\n{questions}\n"
    )
    await asyncio.Event().wait()


_CHANGE: Final = """
apiVersion: v1
kind: ConfigMap
metadata: {name: checkout, namespace: shop}
data: {PAYMENTS_URL: https://payments.shop.example}
"""


async def _tour(url: str, tokens: Mapping[str, str]) -> None:
    """Show what an agent sees, step by step. Steps whose tool is not offered are left out."""
    pods = {"resource": "pods", "namespace": "shop"}
    steps: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
        ("Both clusters, one endpoint: the token says which.", "east", "resource_list", {"resource": "nodes"}),
        ("", "west", "resource_list", {"resource": "nodes"}),
        ("Something is wrong in the shop.", "east", "resource_list", pods),
        ("One call says what, and why.", "east", "diagnose", {"namespace": "shop"}),
        ("A log, filtered where it is read.", "east", "resource_get", {}),
        ("A change is seen before it happens; without a person's yes nothing is written.", "east", "resource_apply",
         {"manifest": _CHANGE, "force": True}),
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(connected(f"{url}/{name}", token)) for name, token in tokens.items()
        }
        offered = {tool.name for tool in (await clients["east"].list_tools()).tools}
        crashing = await _crashing_pod(clients["east"])
        for title, cluster, tool, arguments in steps:
            if tool not in offered:
                continue
            if tool == "resource_get":
                arguments = crashing  # noqa: PLW2901
            if title:
                _show(f"# {title}\n")
            _show(f"> {cluster}: {tool} {json.dumps(arguments)}")
            answer = await clients[cluster].call_tool(tool, arguments)
            _show(_indented(text_of(answer)))


async def _crashing_pod(client: Client) -> dict[str, Any]:
    answer = await client.call_tool("resource_list", {"resource": "pods", "namespace": "shop"})
    lines = [line.split("\t") for line in text_of(answer).splitlines()]
    name = next(cells[0] for cells in lines if "CrashLoopBackOff" in cells)
    parameters = {"previous": True, "grep": "panic|fatal|error"}
    return {"resource": "pod", "name": name, "namespace": "shop", "subresource": "logs", "parameters": parameters}


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines()) + "\n"


def _show(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
