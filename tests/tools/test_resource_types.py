import pytest

from gateway.clusters.options import LimitOptions
from gateway.demo.faults import BrokenService, Refuse
from gateway.policy.options import KindRules, PolicyOptions
from tests.workbench import MakeWorkbench, Workbench


async def test_what_matches_is_one_line_each(workbench: MakeWorkbench) -> None:
    """The first line says which cluster and how many of how many; the rest is a table without padding."""
    bench = await workbench(label="PROD")
    assert await bench.call("resource_types", {"group": "apps", "query": "set"}) == (
        "cluster east [PROD] · 3 of 54 resource types\n"
        "resource\tapiVersion\tkind\tscope\tshort\n"
        "daemonsets\tapps/v1\tDaemonSet\tnamespaced\tds\n"
        "replicasets\tapps/v1\tReplicaSet\tnamespaced\trs\n"
        "statefulsets\tapps/v1\tStatefulSet\tnamespaced\tsts"
    )


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"query": "deploy"}, ["deployments"]),
        ({"query": "DEPLOY"}, ["deployments"]),
        ({"query": "STS", "group": "apps"}, ["statefulsets"]),
        ({"query": "quota"}, ["resourcequotas"]),
        ({"group": "core", "namespaced": "false"}, ["componentstatuses", "namespaces", "nodes", "persistentvolumes"]),
        ({"group": "v1", "query": "node"}, ["nodes"]),
        ({"group": "BATCH"}, ["jobs", "cronjobs"]),
        ({"group": "batch", "namespaced": False}, []),
        ({"query": "review"}, []),
        ({"query": "binding", "group": "core"}, []),
    ],
)
async def test_types_are_found_by_what_is_known_of_them(
    bench: Workbench, arguments: dict[str, object], found: list[str]
) -> None:
    """Group, scope, or a part of any name; types that can't be read are nothing an agent could use."""
    _, *lines = (await bench.call("resource_types", arguments)).splitlines()
    assert sorted(line.split("\t")[0] for line in lines[1:]) == sorted(found)


async def test_nothing_found_says_how_to_find_more(bench: Workbench) -> None:
    """An empty answer has a next step."""
    assert await bench.call("resource_types", {"query": "zebra"}) == (
        "cluster east · 0 of 54 resource types. None matches: call again with a shorter query or without group."
    )


@pytest.mark.parametrize("word", ["secret", "serviceaccount", "role", "rbac"])
async def test_restricted_kinds_are_nowhere(bench: Workbench, word: str) -> None:
    """Neither in the whole list nor by their names (promise 7)."""
    assert word not in (await bench.call("resource_types", {})).lower()
    assert "None matches" in await bench.call("resource_types", {"query": word})


async def test_kinds_that_the_policy_does_not_offer_are_nowhere(workbench: MakeWorkbench) -> None:
    """What may not be used is not shown."""
    bench = await workbench(PolicyOptions(kinds=KindRules(allow=frozenset({"pods", "deployments.apps"}))))
    text = await bench.call("resource_types", {})
    assert [line.split("\t")[0] for line in text.splitlines()[2:]] == ["pods", "deployments"]


async def test_a_restricted_group_of_the_operators_is_nowhere(workbench: MakeWorkbench) -> None:
    """Groups that the operator adds are treated like RBAC's."""
    bench = await workbench(PolicyOptions(restricted_groups=frozenset({"apps"})))
    assert "apps/v1" not in await bench.call("resource_types", {})


async def test_what_does_not_answer_is_said(bench: Workbench) -> None:
    """A broken aggregated API costs its own types and no others."""
    with bench.cluster.fault(BrokenService("metrics.k8s.io", "v1beta1")):
        lines = (await bench.call("resource_types", {"group": "apps"})).splitlines()
    assert lines[1] == "unavailable now (their API servers do not answer): metrics.k8s.io/v1beta1"
    assert len(lines) == 8


async def test_the_answer_fits(workbench: MakeWorkbench) -> None:
    """Cut at whole lines, and said with what makes it shorter."""
    bench = await workbench(limits=LimitOptions(answer_bytes=1024))
    text = await bench.call("resource_types", {})
    first, _, *lines = text.splitlines()
    assert first == f"cluster east · 54 of 54 resource types, first {len(lines)} shown: narrow with group or query"
    assert len(text.encode()) <= 1024
    assert all(line.count("\t") >= 3 for line in lines)


async def test_every_type_takes_less_than_the_budget_of_an_answer(bench: Workbench) -> None:
    """A plain cluster's whole list is short."""
    assert len((await bench.call("resource_types", {})).encode()) < 4096


async def test_warm_it_asks_the_cluster_nothing(bench: Workbench) -> None:
    """The catalog is in memory, also while the cluster is down."""
    await bench.call("resource_types", {})
    before = bench.cluster.served
    async with bench.session() as session:
        with bench.cluster.fault(Refuse()):
            tool = bench.tools["resource_types"]
            assert "deployments" in await tool.run(session, tool.arguments())
    assert bench.cluster.served == before
