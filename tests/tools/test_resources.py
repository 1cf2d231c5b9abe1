"""URIs, what they complete to, and the pages of a listing, on an embedded cluster."""

import asyncio
from contextlib import aclosing

import pytest

from gateway.access.session import ClusterSession
from gateway.demo import EmbeddedCluster
from gateway.demo.faults import server_error
from gateway.errors import BadArgument, GatewayError, NotOffered
from gateway.kube.errors import Forbidden
from gateway.kube.types import ResourceType
from gateway.kube.uris import CLUSTERED, NAMESPACED
from gateway.policy.options import KindRules, NamespaceRules, PolicyOptions
from gateway.tools.completing import MOST, complete_argument, complete_uri
from gateway.tools.resources import PAGE, Target, changes, page, read, target_of, uri_of
from tests.workbench import MakeWorkbench, Workbench

CONFIG = "/api/v1/namespaces/demo/configmaps"
URI = "k8s://namespaced/demo/core/v1/configmaps/one"


async def _make(cluster: EmbeddedCluster, *names: str) -> None:
    for name in names:
        status, _ = await cluster.request("POST", CONFIG, {"metadata": {"name": name}, "data": {"a": "x" * 600}})
        assert status == 201


async def test_a_uri_names_one_object_and_back(bench: Workbench) -> None:
    """Reading a URI and spelling it must be each other's opposite, odd names included."""
    async with bench.session() as session:
        for uri in (URI, "k8s://clustered/core/v1/nodes/a%3Ab", "k8s://namespaced/demo/apps/v1/deployments/web"):
            assert uri_of(await target_of(session, uri)) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "k8s://",
        "k8s://namespaced",
        "k8s://namespaced/demo/core/v1/configmaps",
        "k8s://namespaced/demo/core/v1/configmaps/",
        "k8s://namespaced/demo/core/v1/configmaps/a/log",
        "k8s://clustered/core/v1/nodes",
        "k8s://other/demo/core/v1/configmaps/a",
        "k8s://clustered/core/v1/configmaps/a",
        "k8s://namespaced/demo/core/v1/nodes/a",
        "k8s://namespaced/demo/core/v1/configmaps/" + "a" * 3000,
        "http://namespaced/demo/core/v1/configmaps/a",
        "k8s://namespaced/demo/core/v1/secrets/a",
        "k8s://namespaced/demo//v1/configmaps/a",
    ],
)
async def test_other_uris_name_nothing(bench: Workbench, uri: str) -> None:
    """What is no URI of the two templates, or of a kind that is not served, must be refused before it is sent."""
    async with bench.session() as session:
        with pytest.raises((BadArgument, NotOffered)):
            await target_of(session, uri)
    assert bench.sent() == []


@pytest.mark.parametrize("name", ["..", "a%2Flog", "%00", "a%2Cmetadata.namespace%3Db"])
async def test_a_name_can_not_leave_its_place(bench: Workbench, cluster: EmbeddedCluster, name: str) -> None:
    """Neither a path nor a selector may be made of a name."""
    uri = f"k8s://namespaced/demo/core/v1/configmaps/{name}"
    async with bench.session() as session:
        with pytest.raises(GatewayError):
            await read(session, uri)
    with pytest.raises(BadArgument):
        async with aclosing(changes(bench.session, uri)) as moments:
            await anext(moments)
    assert cluster.count(path="log") == 0
    assert not [sent for sent in bench.sent() if "fieldSelector" in sent]


async def test_an_object_fits_the_budget(workbench: MakeWorkbench, cluster: EmbeddedCluster) -> None:
    """What is read must be within the answer's bytes, and say that it was cut."""
    bench = await workbench()
    body = {"metadata": {"name": "one"}, "data": {str(n): "x" * 1000 for n in range(100)}}
    await cluster.request("POST", CONFIG, body)
    async with bench.session() as session:
        text = await read(session, URI)
    assert len(text.encode()) <= bench.options.limits.answer_bytes
    assert '"cut":true' in text


async def test_completion_is_bounded(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """At most a hundred values, and the truth about the rest."""
    await _make(cluster, *(f"many-{n}" for n in range(120)))
    given = {"namespace": "demo", "group": "core", "version": "v1", "resource": "configmaps"}
    async with bench.session() as session:
        found = await complete_uri(session, NAMESPACED, "name", "many", given)
        assert (len(found.values), found.total, found.more) == (MOST, 120, True)
        found = await complete_uri(session, NAMESPACED, "name", "many-11", given)
        assert (len(found.values), found.more) == (11, False)
        assert (await complete_uri(session, "k8s://other/{name}", "name", "", given)).values == ()
        assert (await complete_uri(session, CLUSTERED, "namespace", "", given)).values == ()
        assert (await complete_uri(session, NAMESPACED, "name", "", {})).values == ()
        assert (await complete_argument(session, "resource", "d", {})).values == ("deployments", "daemonsets")
        found = await complete_argument(session, "name", "many-7", {"resource": "cm", "namespace": "demo"})
        assert found.values[0] == "many-7"


async def test_completion_keeps_to_the_policy(workbench: MakeWorkbench) -> None:
    """Namespaces and kinds that the policy does not allow must not be completed, and need not be asked for."""
    namespaces = NamespaceRules(allow=frozenset({"demo", "shop"}), deny=frozenset({"shop"}))
    bench = await workbench(policy=PolicyOptions(namespaces=namespaces, kinds=KindRules(deny=frozenset({"pods"}))))
    async with bench.session() as session:
        assert (await complete_uri(session, NAMESPACED, "namespace", "", {})).values == ("demo",)
        assert (await complete_uri(session, NAMESPACED, "resource", "pods", {"group": "core"})).values == ()
    assert bench.sent() == []
    bench = await workbench(policy=PolicyOptions(namespaces=NamespaceRules(deny=frozenset({"demo"}))))
    async with bench.session() as session:
        values = (await complete_uri(session, NAMESPACED, "namespace", "", {})).values
    assert "kube-system" in values
    assert "demo" not in values


async def _whole(session: ClusterSession) -> list[str]:
    found, cursor = [], ""
    while True:
        one = await page(session, cursor)
        assert len(one.items) <= PAGE
        found += [uri_of(item) for item in one.items]
        if not (cursor := one.cursor):
            return found


async def test_the_listing_goes_on_over_what_fails(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """A kind whose API server fails, or that RBAC refuses, must not end the listing."""
    await _make(cluster, *(f"many-{n}" for n in range(230)))
    async with bench.session() as session:
        before = await _whole(session)
        with cluster.fault(server_error(503), paths=["/apis/apps/*"]):
            assert set(await _whole(session)) <= set(before)
    assert len([uri for uri in before if "/many-" in uri]) == 230
    assert len(before) == len(set(before))
    async with bench.session(service_account="demo/viewer") as session:
        assert not [uri for uri in await _whole(session) if "kube-system" in uri]


async def test_the_listing_keeps_to_allowed_namespaces(workbench: MakeWorkbench, cluster: EmbeddedCluster) -> None:
    """Where only some namespaces are allowed, just they must be listed."""
    await _make(cluster, "one")
    rules = NamespaceRules(allow=frozenset({"demo"}))
    bench = await workbench(policy=PolicyOptions(namespaces=rules))
    async with bench.session() as session:
        found = await _whole(session)
    assert URI in found
    assert all(uri.startswith("k8s://namespaced/demo/") for uri in found)


async def test_changes_are_told_once_each(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """Only what happens to the object itself must be told, and a lost connection must not hide it."""
    async with aclosing(changes(bench.session, URI)) as moments:
        await anext(moments)
        for happen in (
            lambda: _make(cluster, "another", "one"),
            lambda: cluster.request("DELETE", f"{CONFIG}/one"),
            lambda: _make(cluster, "one"),
        ):
            waiting = asyncio.ensure_future(anext(moments))
            await happen()
            await asyncio.wait_for(waiting, 10)
        waiting = asyncio.ensure_future(anext(moments))
        watches = len([sent for sent in bench.sent() if "watch=true" in sent])
        cluster.compact()
        cluster.cut_connections()
        async with asyncio.timeout(10):
            while len([sent for sent in bench.sent() if "watch=true" in sent]) <= watches:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert not waiting.done()
        await cluster.request("DELETE", f"{CONFIG}/one")
        await asyncio.wait_for(waiting, 10)
    assert bench.pool.state().leases == 0
    assert bench.access.watches.open == 0


async def test_what_may_not_be_watched_is_refused(bench: Workbench) -> None:
    """RBAC must decide before anything is followed."""
    with pytest.raises(Forbidden):
        async with aclosing(
            changes(lambda: bench.session(service_account="demo/viewer"), "k8s://namespaced/kube-system/core/v1/pods/a")
        ) as moments:
            await anext(moments)


def test_a_uri_is_escaped() -> None:
    """Nothing in a name may look like a separator of the URI."""
    kind = ResourceType("", "v1", "nodes", "Node", "node", namespaced=False, verbs=frozenset())
    assert uri_of(Target(kind, "", "a/b%c")) == "k8s://clustered/core/v1/nodes/a%2Fb%25c"
