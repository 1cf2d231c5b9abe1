"""Objects as MCP resources, and prompts, on real clusters through the official client of both generations."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from tests.cluster.cluster import RealCluster
from tests.journeys.conftest import GatewayProcess, connected, describe, running_gateway, subscribed

pytestmark = [pytest.mark.slow, pytest.mark.asyncio]

NAMESPACED = "k8s://namespaced/{namespace}/{group}/{version}/{resource}/{name}"
CLUSTERED = "k8s://clustered/{group}/{version}/{resource}/{name}"
WATCHED = "k8s://namespaced/demo/core/v1/configmaps/watched"
CONFIG_MAP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME, namespace: demo, annotations: {note: only when asked}}
data: {round: "VALUE"}
"""


@pytest.fixture(scope="module")
def gateway(real_cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One read-only gateway that also lists resources."""
    folder = tmp_path_factory.mktemp("gateway")
    with running_gateway(folder, describe(real_cluster), serveResources=True, rateLimiting=False) as running:
        yield running


Connect = Callable[[], AbstractAsyncContextManager[Client]]


@pytest.fixture
async def connect(gateway: GatewayProcess, real_cluster: RealCluster, mode: str) -> Connect:
    """Give what connects the administrator's client, in each generation."""
    token = await real_cluster.token()
    return lambda: connected(gateway.url, token, mode, cache=None)


async def _write(cluster: RealCluster, name: str, value: str) -> None:
    await cluster.apply(CONFIG_MAP.replace("NAME", name).replace("VALUE", value))


async def _read(client: Client, uri: str) -> dict[str, Any]:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, types.TextResourceContents)
    assert content.mime_type == "application/json"
    document: dict[str, Any] = json.loads(content.text)
    return document


async def test_both_templates_are_read(connect: Connect, real_cluster: RealCluster) -> None:
    """An object's URI must give the same trimmed object as the tool does, with the cluster it is on."""
    async with connect() as client:
        await _write(real_cluster, "watched", "1")
        templates = (await client.list_resource_templates()).resource_templates
        assert [template.uri_template for template in templates] == [NAMESPACED, CLUSTERED]
        found = await _read(client, WATCHED)
        assert found["cluster"] == real_cluster.name
        assert found["object"]["data"] == {"round": "1"}
        assert set(found["object"]["metadata"]).isdisjoint({"managedFields", "annotations"})
        found = await _read(client, "k8s://clustered/core/v1/namespaces/demo")
        assert found["object"]["metadata"]["name"] == "demo"


@pytest.mark.parametrize(
    "uri",
    [
        "k8s://namespaced/demo/core/v1/configmaps/none",
        "k8s://namespaced/demo/core/v1/secrets/any",
        "k8s://namespaced/demo/core/v1/serviceaccounts/mcp",
        "k8s://clustered/rbac.authorization.k8s.io/v1/clusterroles/admin",
        "k8s://namespaced/demo/core/v1/nonsense/any",
        "k8s://clustered/core/v1/configmaps/any",
        "k8s://namespaced/demo/core/v1/configmaps/..%2Fsecrets%2Fany",
        "k8s://namespaced/demo/core/v1/pods%2Fx/y",
        "k8s://nowhere",
        "https://example.com/",
    ],
)
async def test_what_is_not_there_is_not_found(connect: Connect, uri: str) -> None:
    """Missing, restricted and malformed must be the same JSON-RPC error, with the URI."""
    async with connect() as client:
        with pytest.raises(MCPError) as caught:
            await client.read_resource(uri)
        assert caught.value.error.code == -32602
        assert caught.value.error.data == {"uri": uri}


async def test_restricted_kinds_read_as_unknown_ones(connect: Connect) -> None:
    """The words for a Secret must be those for a kind that does not exist."""
    async with connect() as client:
        words = []
        for plural in ("secrets", "nonsense"):
            with pytest.raises(MCPError) as caught:
                await client.read_resource(f"k8s://namespaced/demo/core/v1/{plural}/any")
            words.append(caught.value.error.message.replace(plural, "KIND"))
        assert words[0] == words[1]


async def test_completion(connect: Connect, real_cluster: RealCluster) -> None:
    """Namespace, group, version, kind and name must complete, and restricted kinds must not."""
    async with connect() as client:
        await _write(real_cluster, "watched", "1")
        complete = _completer(client, NAMESPACED)
        assert "demo" in await complete("namespace", "de")
        assert await complete("group", "apps") == ["apps"]
        assert await complete("version", "", group="apps") == ["v1"]
        assert "configmaps" in await complete("resource", "c", group="core", version="v1")
        assert await complete("resource", "secr", group="core", version="v1") == []
        given = {"namespace": "demo", "group": "core", "version": "v1", "resource": "configmaps"}
        assert await complete("name", "watch", **given) == ["watched"]
        assert await complete("name", "", **{**given, "resource": "secrets"}) == []
        assert await complete("nonsense", "") == []
        clustered = _completer(client, CLUSTERED)
        assert "namespaces" in await clustered("resource", "name", group="core")
        assert "configmaps" not in await clustered("resource", "")


async def test_completion_tells_a_viewer_only_what_it_may_list(
    gateway: GatewayProcess, real_cluster: RealCluster, mode: str
) -> None:
    """What RBAC refuses must complete to nothing, without an error."""
    token = await real_cluster.token(service_account="demo/viewer")
    async with connected(gateway.url, token, mode) as client:
        complete = _completer(client, NAMESPACED)
        given = {"group": "core", "version": "v1", "resource": "configmaps"}
        assert await complete("name", "kube", namespace="demo", **given) == ["kube-root-ca.crt"]
        assert await complete("name", "kube", namespace="kube-system", **given) == []


def _completer(client: Client, template: str) -> Callable[..., Awaitable[list[str]]]:
    async def complete(argument: str, typed: str, **given: str) -> list[str]:
        reference = types.ResourceTemplateReference(uri=template)
        result = await client.complete(reference, {"name": argument, "value": typed}, given)
        return result.completion.values

    return complete


async def test_the_listing_is_paged_and_complete(connect: Connect, real_cluster: RealCluster) -> None:
    """Following the cursor must name objects once, what is restricted never, and end."""
    await real_cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: crowded}}")
    crowd = (CONFIG_MAP.replace("NAME", f"many-{number}").replace("VALUE", "1") for number in range(120))
    await real_cluster.apply("\n---\n".join(crowd).replace("namespace: demo", "namespace: crowded"))
    async with connect() as client:
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(60):
            found = await client.list_resources(cursor=cursor)
            assert len(found.resources) <= 100
            seen += [resource.uri for resource in found.resources]
            cursor = found.next_cursor
            if cursor is None:
                break
        assert cursor is None
        assert len(seen) == len(set(seen))
        assert sum("/configmaps/many-" in uri for uri in seen) == 120
        assert "k8s://clustered/core/v1/namespaces/demo" in seen
        assert not [uri for uri in seen if "/secrets/" in uri or "/rbac." in uri or "/serviceaccounts/" in uri]
        assert await _read(client, seen[0])
        with pytest.raises(MCPError):
            await client.list_resources(cursor="bm90IG91cnM")
    # Other tests list what the cluster has.
    await real_cluster.request("DELETE", "/api/v1/namespaces/crowded/configmaps")


async def test_the_listing_is_off_by_default(real_cluster: RealCluster, tmp_path: Path, mode: str) -> None:
    """Without the operator's word nothing is listed, and the cluster is not asked; reading works."""
    with running_gateway(tmp_path, describe(real_cluster)) as gateway:
        async with connected(gateway.url, await real_cluster.token(), mode) as client:
            assert client.server_capabilities.resources is not None
            assert (await client.list_resources()).resources == []
            assert await _read(client, "k8s://clustered/core/v1/namespaces/demo")


async def _until_watches(gateway: GatewayProcess, count: int) -> None:
    async with asyncio.timeout(20):
        while await asyncio.to_thread(gateway.metric, "kube_mcp_gateway_watches") != count:  # noqa: ASYNC110  # scraped
            await asyncio.sleep(0.05)


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
async def test_a_subscriber_is_told_of_each_change(
    gateway: GatewayProcess, real_cluster: RealCluster, mode: str
) -> None:
    """Changes, deletion and coming back must be told, others' must not, and nothing must remain afterwards."""
    await _write(real_cluster, "watched", "1")
    async with subscribed(gateway.url, await real_cluster.token(), mode, WATCHED) as told:
        await _until_watches(gateway, 1)
        await _write(real_cluster, "another", mode)
        await _write(real_cluster, "watched", f"2 {mode}")
        assert await asyncio.wait_for(told.get(), 10) == WATCHED
        await real_cluster.request("DELETE", "/api/v1/namespaces/demo/configmaps/watched")
        assert await asyncio.wait_for(told.get(), 10) == WATCHED
        await _write(real_cluster, "watched", "3")
        assert await asyncio.wait_for(told.get(), 10) == WATCHED
        assert told.empty()
    await _until_watches(gateway, 0)
    assert gateway.metric("kube_mcp_gateway_pool_leases") == 0


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
async def test_subscriptions_are_bounded_and_refused_like_reads(
    gateway: GatewayProcess, real_cluster: RealCluster
) -> None:
    """One caller may have twenty; what can't be read can't be watched; an end of one makes room."""
    uris = [f"k8s://namespaced/demo/core/v1/configmaps/any-{number}" for number in range(21)]
    token = await real_cluster.token(service_account="demo/viewer")
    async with connected(gateway.url, token, "legacy") as client:
        for uri in ("k8s://namespaced/demo/core/v1/secrets/any", "k8s://namespaced/kube-system/core/v1/configmaps/a"):
            with pytest.raises(MCPError):
                await client.subscribe_resource(uri)  # type: ignore[deprecated]
        for uri in uris[:20]:
            await client.subscribe_resource(uri)  # type: ignore[deprecated]
        with pytest.raises(MCPError, match="at once"):
            await client.subscribe_resource(uris[20])  # type: ignore[deprecated]
        await client.unsubscribe_resource(uris[0])  # type: ignore[deprecated]
        await client.subscribe_resource(uris[20])  # type: ignore[deprecated]
        async with connected(gateway.url, token, "auto") as modern:
            with pytest.raises(MCPError, match="at once"):
                async with modern.listen(resource_subscriptions=uris[:1]):
                    pass
    await _until_watches(gateway, 0)


async def test_what_can_not_be_watched_is_not_acknowledged(gateway: GatewayProcess, real_cluster: RealCluster) -> None:
    """A listener must learn which of its wishes are honored: no restricted kind, and no lists."""
    secret = "k8s://namespaced/demo/core/v1/secrets/any"
    async with connected(gateway.url, await real_cluster.token(), "auto") as client:
        async with client.listen(
            resource_subscriptions=[WATCHED, secret], tools_list_changed=True, resources_list_changed=True
        ) as subscription:
            assert subscription.honored.resource_subscriptions == [WATCHED]
            assert not subscription.honored.tools_list_changed
            assert not subscription.honored.resources_list_changed
        assert client.server_capabilities.tools is not None
        assert not client.server_capabilities.tools.list_changed
    await _until_watches(gateway, 0)


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
async def test_a_subscription_ends_with_its_token(
    gateway: GatewayProcess, real_cluster: RealCluster, mode: str
) -> None:
    """No watch may go on with a token that has lapsed."""
    token = await real_cluster.token(seconds=6)
    async with subscribed(gateway.url, token, mode, WATCHED):
        await _until_watches(gateway, 1)
        await _until_watches(gateway, 0)
    assert gateway.metric("kube_mcp_gateway_pool_leases") == 0


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
async def test_a_shutdown_does_not_wait_for_subscribers(real_cluster: RealCluster, tmp_path: Path, mode: str) -> None:
    """The gateway must end at once though somebody listens."""
    with running_gateway(tmp_path, describe(real_cluster)) as gateway:
        async with subscribed(gateway.url, await real_cluster.token(), mode, WATCHED):
            await _until_watches(gateway, 1)
            gateway.process.terminate()
            assert await asyncio.to_thread(gateway.process.wait, 10) == 0


async def test_prompts_name_tools_that_are_offered(real_cluster: RealCluster, tmp_path: Path, mode: str) -> None:
    """Where writing is not offered, no prompt may ask for it; where it is, rolling out is among them."""
    for writes, names in (
        ([], ["failing_workload", "review_manifest"]),
        (["apply"], ["failing_workload", "review_manifest", "roll_out"]),
    ):
        with running_gateway(tmp_path, describe(real_cluster, policy={"writes": writes})) as gateway:
            async with connected(gateway.url, await real_cluster.token(), mode) as client:
                assert [prompt.name for prompt in (await client.list_prompts()).prompts] == names
                tools = {tool.name for tool in (await client.list_tools()).tools}
                for name in names:
                    given = {"name": "web"} if name == "failing_workload" else {"manifest": "kind: ConfigMap"}
                    (message,) = (await client.get_prompt(name, given)).messages
                    assert isinstance(message.content, types.TextContent)
                    spoken = {word for word in message.content.text.split("`") if word.startswith("resource_")}
                    assert spoken <= tools
                with pytest.raises(MCPError, match="needed: name"):
                    await client.get_prompt("failing_workload", {})
                with pytest.raises(MCPError, match="Unknown prompt"):
                    await client.get_prompt("none", {})
                reference = types.PromptReference(name="failing_workload")
                found = await client.complete(reference, {"name": "namespace", "value": "dem"})
                assert found.completion.values == ["demo"]
