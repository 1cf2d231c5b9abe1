"""A client that can only start a command works through `connect`, with the real gateway and real clusters behind it."""

import asyncio
import json
import os
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel

from tests.cluster.cluster import RealCluster
from tests.cluster.pki import new_authority
from tests.journeys.conftest import GatewayProcess, call, connected, describe, failing, running_gateway
from tests.operator.kubeconfigs import certificate, kubeconfig

PROGRAM = (sys.executable, "-c", "from gateway.cli import main; main()")
WATCHED = "namespaced/demo/core/v1/configmaps/bridged"
Clusters = tuple[RealCluster, RealCluster]

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


@asynccontextmanager
async def bridged(url: str, mode: str, *arguments: str, **options: Any) -> AsyncIterator[Client]:
    """Start `connect` as a client does, and speak MCP with it in one protocol generation."""
    command, *words = PROGRAM
    parameters = StdioServerParameters(
        command=command, args=[*words, "connect", "--url", url, *arguments], env=dict(os.environ)
    )
    async with Client(stdio_client(parameters), mode=mode, **options) as client:
        yield client


@pytest.fixture
def minting(real_clusters: Clusters, tmp_path: Path) -> tuple[str, ...]:
    """Return the words that lead to a kubeconfig with both clusters, and whose tokens to mint."""
    file = kubeconfig(tmp_path / "config", {f"kind-{c.name}": (c, certificate(c)) for c in real_clusters})
    return ("--kubeconfig", str(file), "--service-account", "demo/mcp")


@pytest.fixture
def both(minting: Sequence[str]) -> tuple[str, ...]:
    """Return the words for both clusters as one server."""
    return (*minting, "--context", "east=kind-east", "--context", "west=kind-west")


@pytest.fixture(scope="module")
def writing(real_clusters: Clusters, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway where east may be written to after a person's yes, and west may not."""
    east, west = real_clusters
    clusters = [*describe(east, policy={"writes": ["apply"]}), *describe(west)]
    with running_gateway(tmp_path_factory.mktemp("gateway"), clusters) as running:
        yield running


def _config_map(name: str, value: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: demo}}\ndata: {{value: '{value}'}}\n"


async def _shown(client: Client) -> dict[str, Any]:
    """Return what a client sees of a server before it calls anything, but for what tells of `listChanged`."""
    prompt = await client.get_prompt("failing_workload", {"name": "web"})
    template = types.ResourceTemplateReference(uri="k8s://clustered/{group}/{version}/{resource}/{name}")
    completed = await client.complete(
        template, {"name": "resource", "value": "names"}, {"group": "core", "version": "v1"}
    )
    read = await client.read_resource("k8s://clustered/core/v1/namespaces/demo")
    parts: dict[str, Sequence[BaseModel]] = {
        "tools": (await client.list_tools()).tools,
        "prompts": (await client.list_prompts()).prompts,
        "templates": (await client.list_resource_templates()).resource_templates,
        "resources": (await client.list_resources()).resources,
        "prompt": prompt.messages,
        "read": read.contents,
    }
    shown = {name: [one.model_dump(mode="json") for one in part] for name, part in parts.items()}
    return {
        **shown,
        "completed": completed.completion.values,
        "instructions": client.instructions,
        "capabilities": client.server_capabilities.model_dump(exclude={"tools": {"list_changed"}}),
    }


async def test_one_cluster_is_passed_on_as_it_is(
    gateway: GatewayProcess, real_cluster: RealCluster, minting: Sequence[str], mode: str
) -> None:
    """With one context the client must see what it would see without a bridge, and its calls must be answered alike."""
    async with connected(gateway.url, await real_cluster.token(), mode) as direct:
        expected = await _shown(direct)
        listed = await call(direct, "resource_list", resource="namespaces", output="name")
    async with bridged(gateway.url, mode, *minting, "--context", "kind-east") as client:
        assert await _shown(client) == expected
        assert await call(client, "resource_list", resource="namespaces", output="name") == listed
        assert "serves no 'secrets'" in await failing(client, "resource_list", resource="secrets")
        with pytest.raises(MCPError, match=r"Unknown tool\. This cluster has: resource_types"):
            await client.call_tool("none", {})
        with pytest.raises(MCPError) as refused:
            await client.read_resource("k8s://clustered/core/v1/namespaces/none")
        assert refused.value.data == {"uri": "k8s://clustered/core/v1/namespaces/none"}


async def test_several_clusters_are_one_server(writing: GatewayProcess, both: Sequence[str], mode: str) -> None:
    """Each tool and template is listed once, `cluster` says where to, and what a cluster lacks is not offered there."""
    async with bridged(writing.url, mode, *both) as client:
        assert client.instructions is not None
        assert "- east: Kubernetes cluster east" in client.instructions
        assert "- west: Kubernetes cluster west" in client.instructions
        assert client.instructions.count("Lists are pages") == 1
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        clusters = {name: tool.input_schema["properties"]["cluster"]["enum"] for name, tool in tools.items()}
        assert clusters.pop("resource_apply") == ["east"]
        assert clusters
        assert all(enum == ["east", "west"] for enum in clusters.values())
        assert all("cluster" in tool.input_schema["required"] for tool in tools.values())
        assert tools["resource_list"].annotations == types.ToolAnnotations(
            read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
        )
        for name in ("east", "west"):
            text = await call(client, "resource_list", cluster=name, resource="namespaces")
            assert text.startswith(f"cluster {name} ·")
        assert "`cluster` is missing. It is one of: east, west." in await failing(client, "resource_types")
        assert "no cluster 'north'" in await failing(client, "resource_types", cluster="north")
        lacking = await failing(client, "resource_apply", cluster="west", manifest=_config_map("any", "1"))
        assert lacking.startswith("Cluster west: Unknown tool. This cluster has: resource_types")


async def test_prompts_and_resources_of_several_clusters(
    gateway: GatewayProcess, both: Sequence[str], mode: str
) -> None:
    """A URI has its cluster as the first segment, a prompt takes it as an argument, and both are completed."""
    async with bridged(gateway.url, mode, *both) as client:
        templates = [one.uri_template for one in (await client.list_resource_templates()).resource_templates]
        assert templates == [
            "k8s://{cluster}/namespaced/{namespace}/{group}/{version}/{resource}/{name}",
            "k8s://{cluster}/clustered/{group}/{version}/{resource}/{name}",
        ]
        reference = types.ResourceTemplateReference(uri=templates[0])
        assert (await client.complete(reference, {"name": "cluster", "value": "w"})).completion.values == ["west"]
        given = {"cluster": "west", "group": "core", "version": "v1", "resource": "configmaps"}
        found = await client.complete(reference, {"name": "namespace", "value": "dem"}, given)
        assert found.completion.values == ["demo"]
        uri = "k8s://west/clustered/core/v1/namespaces/demo"
        (content,) = (await client.read_resource(uri)).contents
        assert isinstance(content, types.TextResourceContents)
        assert content.uri == uri
        assert json.loads(content.text)["cluster"] == "west"
        for wrong in (f"{uri}-2", uri.replace("west", "north")):
            with pytest.raises(MCPError):
                await client.read_resource(wrong)
        (prompt, *_) = (await client.list_prompts()).prompts
        assert prompt.arguments is not None
        assert prompt.arguments[0].name == "cluster"
        (message,) = (await client.get_prompt(prompt.name, {"cluster": "west", "name": "web"})).messages
        assert isinstance(message.content, types.TextContent)
        assert message.content.text.startswith("This is about cluster west")
        with pytest.raises(MCPError, match="`cluster` is missing"):
            await client.get_prompt(prompt.name, {"name": "web"})


async def test_every_object_of_every_cluster_is_listed_once(
    real_clusters: Clusters, both: Sequence[str], tmp_path: Path, mode: str
) -> None:
    """Where objects are listed as resources, paging must go through one cluster after the other, and end."""
    with running_gateway(tmp_path, describe(*real_clusters), serveResources=True, rateLimiting=False) as gateway:
        async with bridged(gateway.url, mode, *both) as client:
            uris: list[str] = []
            cursor: str | None = None
            while True:
                page = await client.list_resources(cursor=cursor)
                uris += [one.uri for one in page.resources]
                cursor = page.next_cursor
                if cursor is None:
                    break
            with pytest.raises(MCPError, match="cursor"):
                await client.list_resources(cursor="7:x")
        assert len(uris) == len(set(uris))
        for name in ("east", "west"):
            assert f"k8s://{name}/clustered/core/v1/namespaces/demo" in uris


async def _until_refused(url: str, token: str) -> None:
    """Wait until the gateway does not accept this token any more."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    async with asyncio.timeout(60), httpx2.AsyncClient(headers=headers) as http:
        while (await http.post(url, json=body)).status_code != httpx2.codes.UNAUTHORIZED:  # noqa: ASYNC110  # asked
            await asyncio.sleep(0.2)


async def test_a_session_outlives_its_tokens_and_compares_two_clusters(
    gateway: GatewayProcess, real_clusters: Clusters, tmp_path: Path, mode: str
) -> None:
    """When both first tokens have run out, the same session must go on, on both clusters, and never cross them."""
    told: asyncio.Queue[str] = asyncio.Queue()
    east, west = real_clusters

    async def on_message(message: Any) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            told.put_nowait(str(message.params.uri))

    files = {cluster.name: tmp_path / cluster.name for cluster in real_clusters}
    first = {cluster.name: await cluster.token(seconds=15) for cluster in real_clusters}
    for name, token in first.items():
        files[name].write_text(token)
    words = [word for name, file in files.items() for word in ("--token-command", f"{name}=cat {file}")]
    refused = gateway.metric("kube_mcp_gateway_authentication_failures_total")
    async with bridged(gateway.url, mode, *words, message_handler=on_message) as client:
        async with _watching(client, mode, f"k8s://west/{WATCHED}"):
            for cluster in real_clusters:
                text = await call(client, "resource_list", cluster=cluster.name, resource="namespaces")
                assert text.startswith(f"cluster {cluster.name} ·")
            # Nobody was refused: each token went to its own cluster, whose keys alone verify it.
            assert gateway.metric("kube_mcp_gateway_authentication_failures_total") == refused
            for cluster in real_clusters:
                files[cluster.name].write_text(await cluster.token())
            for token in first.values():
                await _until_refused(gateway.url, token)
            refused = gateway.metric("kube_mcp_gateway_authentication_failures_total")
            answers = await asyncio.gather(
                *(call(client, "resource_get", cluster=c.name, resource="ns", name="demo") for c in real_clusters)
            )
            assert [answer.split(" · ")[0] for answer in answers] == ["cluster east", "cluster west"]
            await east.apply(_config_map("bridged", uuid.uuid4().hex))
            await west.apply(_config_map("bridged", uuid.uuid4().hex))
            async with asyncio.timeout(20):
                assert await told.get() == f"k8s://west/{WATCHED}"
        assert gateway.metric("kube_mcp_gateway_authentication_failures_total") == refused


async def test_a_token_that_its_cluster_revoked_is_minted_anew(
    gateway: GatewayProcess, real_cluster: RealCluster, minting: Sequence[str], mode: str
) -> None:
    """When Kubernetes takes a token no more long before its time, calls say so, and soon have another one."""
    account = f"revoked-{mode}"
    path = "/api/v1/namespaces/demo/serviceaccounts"
    metadata = {"metadata": {"name": account}}
    await real_cluster.request("POST", path, metadata)
    words = [word if word != "demo/mcp" else f"demo/{account}" for word in minting]
    async with bridged(gateway.url, mode, *words, "--context", "kind-east") as client:
        assert await call(client, "resource_types", query="configmap")
        await real_cluster.request("DELETE", f"{path}/{account}")
        await real_cluster.request("POST", path, metadata)
        # An API server may believe a token for some seconds more; one that was just minted is not replaced at once.
        await _until_said(client, "token")
        await _until_said(client, "Forbidden by the cluster's RBAC")


async def _until_said(client: Client, words: str) -> None:
    async with asyncio.timeout(60):
        while words not in await failing(client, "resource_list", resource="pods", namespace="demo"):  # noqa: ASYNC110
            await asyncio.sleep(0.5)


@asynccontextmanager
async def _watching(client: Client, mode: str, uri: str) -> AsyncIterator[None]:
    """Subscribe in the generation's own way; the client's message handler hears of changes in both."""
    if mode == "legacy":
        await client.subscribe_resource(uri)  # type: ignore[deprecated]  # the way of this generation
        yield
        return
    async with client.listen(resource_subscriptions=[uri]) as subscription:
        assert subscription.honored.resource_subscriptions == [uri]
        yield


async def test_what_can_not_be_watched_is_said(gateway: GatewayProcess, both: Sequence[str], mode: str) -> None:
    """Neither generation may believe that it is told of something of which it never will be."""
    secret = "k8s://east/namespaced/demo/core/v1/secrets/any"
    async with bridged(gateway.url, mode, *both) as client:
        if mode == "legacy":
            with pytest.raises(MCPError, match="serves no"):
                await client.subscribe_resource(secret)  # type: ignore[deprecated]
            return
        wanted = [secret, f"k8s://west/{WATCHED}", f"k8s://east/{WATCHED}"]
        async with client.listen(resource_subscriptions=wanted, tools_list_changed=True) as subscription:
            assert sorted(subscription.honored.resource_subscriptions or ()) == sorted(wanted[1:])
            assert subscription.honored.tools_list_changed


async def test_a_restart_of_the_gateway_is_survived(
    real_cluster: RealCluster, minting: Sequence[str], tmp_path: Path, mode: str
) -> None:
    """While the gateway is away a call says so; when it is back, calls and subscriptions go on by themselves."""
    told: asyncio.Queue[str] = asyncio.Queue()

    async def on_message(message: Any) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            told.put_nowait(str(message.params.uri))

    words = (*minting, "--context", "kind-east")
    async with AsyncExitStack() as stack:
        with running_gateway(tmp_path, describe(real_cluster)) as gateway:
            port = httpx2.URL(gateway.url).port
            client = await stack.enter_async_context(bridged(gateway.url, mode, *words, message_handler=on_message))
            await stack.enter_async_context(_watching(client, mode, f"k8s://{WATCHED}"))
            assert await call(client, "resource_types", query="configmap")
        text = await failing(client, "resource_types", query="configmap")
        assert f"The gateway at http://127.0.0.1:{port} can't be reached" in text
        with running_gateway(tmp_path, describe(real_cluster), listen={"port": port}):
            assert await call(client, "resource_types", query="configmap")
            async with asyncio.timeout(40):
                # What changed meanwhile nobody knows.
                assert await told.get() == f"k8s://{WATCHED}"
                await real_cluster.apply(_config_map("bridged", uuid.uuid4().hex))
                assert await told.get() == f"k8s://{WATCHED}"
            await stack.aclose()


async def test_a_gateway_that_is_down_at_the_start_is_waited_for(
    real_cluster: RealCluster, minting: Sequence[str], tmp_path: Path, mode: str
) -> None:
    """The bridge must start all the same, say what is wrong, and have the tools listed again once there are any."""
    changed = asyncio.Event()

    async def on_message(message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            changed.set()

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/mcp"
    async with AsyncExitStack() as stack:
        words = (*minting, "--context", "kind-east")
        client = await stack.enter_async_context(bridged(url, mode, *words, message_handler=on_message))
        if mode == "auto":
            await stack.enter_async_context(client.listen(tools_list_changed=True))
        with pytest.raises(MCPError, match="can't be reached"):
            await client.list_tools()
        assert "can't be reached" in await failing(client, "resource_types")
        with running_gateway(tmp_path, describe(real_cluster), listen={"port": port}):
            async with asyncio.timeout(40):
                await changed.wait()
            assert "diagnose" in {tool.name for tool in (await client.list_tools()).tools}
            await stack.aclose()


@pytest.mark.parametrize(("action", "is_written"), [("accept", True), ("decline", False)])
async def test_the_person_is_asked_through_the_bridge(
    writing: GatewayProcess, real_cluster: RealCluster, both: Sequence[str], mode: str, action: Any, *, is_written: bool
) -> None:
    """A write waits for the person at the client, whatever its generation, and without a yes nothing is written."""
    questions: list[str] = []

    async def person(_context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        questions.append(params.message)
        content: dict[str, Any] | None = {"answer": "yes"} if is_written else None
        return types.ElicitResult(action=action, content=content)

    name = f"b-{uuid.uuid4().hex[:8]}"
    async with bridged(writing.url, mode, *both, elicitation_callback=person) as client:
        result = await client.call_tool("resource_apply", {"cluster": "east", "manifest": _config_map(name, "1")})
    (question,) = questions
    assert "east" in question
    assert name in question
    found, _ = await real_cluster.request("GET", f"/api/v1/namespaces/demo/configmaps/{name}")
    assert found == (httpx2.codes.OK if is_written else httpx2.codes.NOT_FOUND)
    assert ("nothing written" in str(result.content)) is not is_written


async def test_who_can_not_be_asked_is_not_asked(writing: GatewayProcess, both: Sequence[str], mode: str) -> None:
    """The gateway must know of the client itself whether a person is there, not of the bridge."""
    async with bridged(writing.url, mode, *both) as client:
        text = await call(client, "resource_apply", cluster="east", manifest=_config_map("unasked", "1"))
    assert "this client can't ask one" in text


async def _until_watches(gateway: GatewayProcess, count: int) -> None:
    async with asyncio.timeout(20):
        while await asyncio.to_thread(gateway.metric, "kube_mcp_gateway_watches") != count:  # noqa: ASYNC110  # scraped
            await asyncio.sleep(0.05)


async def test_progress_arrives_and_cancelling_reaches_the_gateway(
    gateway: GatewayProcess, minting: Sequence[str], mode: str
) -> None:
    """What a wait reports must reach the client; a client that gives up must leave nothing running behind."""
    told = asyncio.Event()

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        assert message, (progress, total)
        told.set()

    cancelled = gateway.metric("kube_mcp_gateway_tool_calls_total", outcome="cancelled")
    wait = {"resource": "cm", "name": f"never-{mode}", "namespace": "demo", "condition": "exists"}
    async with bridged(gateway.url, mode, *minting, "--context", "kind-east") as client:
        task = asyncio.create_task(client.call_tool("resource_wait", wait, progress_callback=on_progress))
        async with asyncio.timeout(20):
            await told.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await _until_watches(gateway, 0)
        assert "configmaps" in await call(client, "resource_list", resource="cm", namespace="demo")
    assert gateway.metric("kube_mcp_gateway_tool_calls_total", outcome="cancelled") == cancelled + 1


async def test_the_gateways_own_certificate_is_verified(
    real_cluster: RealCluster, minting: Sequence[str], tmp_path: Path, mode: str
) -> None:
    """No token may go to whoever can't prove to be the gateway; `--ca` says whom to believe."""
    authority = new_authority("gateway")
    pair = authority.serving("gateway", ["127.0.0.1"])
    for name, content in (("ca.crt", authority.pem), ("tls.crt", pair.certificate), ("tls.key", pair.key)):
        (tmp_path / name).write_bytes(content)
    listen = {"tls": {"certificate": str(tmp_path / "tls.crt"), "key": str(tmp_path / "tls.key")}}
    words = (*minting, "--context", "kind-east")
    with running_gateway(tmp_path, describe(real_cluster), listen=listen) as gateway:
        async with bridged(gateway.url, mode, *words) as client:
            assert "certificate verify failed" in await failing(client, "resource_types")
        async with bridged(gateway.url, mode, *words, "--ca", str(tmp_path / "ca.crt")) as client:
            assert await call(client, "resource_types")


async def test_what_can_not_be_minted_is_told_to_the_agent(
    gateway: GatewayProcess, both: Sequence[str], mode: str
) -> None:
    """A service account that is not there must be named, with what to do, on the cluster that was asked."""
    words = [word if word != "demo/mcp" else "demo/nobody" for word in both]
    async with bridged(gateway.url, mode, *words) as client:
        text = await failing(client, "resource_types", cluster="west")
    assert "There is no token for cluster west" in text
    assert "no service account demo/nobody" in text
