from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import yaml

from gateway.clusters.options import LimitOptions
from gateway.demo import EmbeddedCluster
from gateway.demo.faults import ExpireContinue, Reply, not_json, server_error, too_many_requests
from gateway.demo.wire import Obj
from gateway.policy.options import KindRules, NamespaceRules, PolicyOptions
from tests.workbench import MakeWorkbench, Workbench, listed

BUDGET = 24 * 1024


def config_map(name: str, namespace: str = "demo", *, filler: int = 0, **metadata: Any) -> Obj:
    """Return a ConfigMap with so many bytes in it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "data": {"filler": "x" * filler},
    }


def many(count: int, **more: Any) -> Iterator[Obj]:
    """Return so many ConfigMaps."""
    return (config_map(f"map-{number:04}", **more) for number in range(count))


async def pages(bench: Workbench, **arguments: Any) -> list[str]:
    """Follow `continue` to the end, and return every page."""
    found = [await bench.call("resource_list", arguments)]
    while (following := token_in(found[-1])) is not None:
        assert len(found) < 200
        found.append(await bench.call("resource_list", arguments | {"continue": following}))
    return found


def token_in(page: str) -> str | None:
    """Return the page's continue token."""
    if page.startswith("{"):
        token: str | None = orjson.loads(page).get("continue")
        return token
    last = page.rpartition("\n")[2]
    return last.removeprefix("continue: ") if last.startswith("continue: ") else None


def rows(page: str) -> list[str]:
    """Return a page's rows."""
    _, *lines = page.splitlines()
    return [line for line in lines if not line.startswith("continue: ")]


async def test_a_list_is_the_api_servers_own_table(workbench: MakeWorkbench) -> None:
    """The first line says which cluster, what and how many; columns that say nothing are left out."""
    bench = await workbench(label="PROD")
    text = await bench.call("resource_list", {"resource": "ns"})
    head, columns, *lines = text.splitlines()
    assert head == "cluster east [PROD] · namespaces · 5 in all"
    assert columns == "NAME\tSTATUS\tAGE"
    assert [line.split("\t")[:2] for line in lines] == [
        [name, "Active"] for name in ("default", "demo", "kube-node-lease", "kube-public", "kube-system")
    ]


async def test_across_namespaces_every_row_says_its_own(bench: Workbench) -> None:
    """A table of all namespaces has their names; that of one has not."""
    bench.cluster.seed([config_map("settings", "demo"), config_map("settings", "default")])
    text = await bench.call("resource_list", {"resource": "cm"})
    assert text.splitlines()[1].split("\t")[:2] == ["NAMESPACE", "NAME"]
    assert [row.split("\t")[:2] for row in rows(text)[1:]] == [["default", "settings"], ["demo", "settings"]]
    text = await bench.call("resource_list", {"resource": "cm", "namespace": "demo"})
    assert text.startswith("cluster east · configmaps in namespace demo · 1 in all\nNAME\tDATA\tAGE\nsettings\t1\t")


async def test_a_table_costs_no_objects(bench: Workbench) -> None:
    """Within a namespace the API server is asked for rows alone, across namespaces for the metadata beside them."""
    await bench.call("resource_list", {"resource": "cm", "namespace": "demo"})
    await bench.call("resource_list", {"resource": "cm"})
    assert bench.sent() == [
        "GET /api/v1/namespaces/demo/configmaps?limit=100&includeObject=None",
        "GET /api/v1/configmaps?limit=100&includeObject=Metadata",
    ]


async def test_names_alone_are_shortest(bench: Workbench) -> None:
    """One name a line, with its namespace where that is not given."""
    bench.cluster.seed(many(2))
    text = await bench.call("resource_list", {"resource": "cm", "output": "name"})
    assert text == "cluster east · configmaps · 2 in all\ndemo\tmap-0000\ndemo\tmap-0001"
    text = await bench.call("resource_list", {"resource": "cm", "output": "name", "namespace": "demo"})
    assert text == "cluster east · configmaps in namespace demo · 2 in all\nmap-0000\nmap-0001"


@pytest.mark.parametrize("annotated", [False, True])
async def test_whole_objects_are_trimmed(bench: Workbench, *, annotated: bool) -> None:
    """Nobody's fields are left out, annotations come when asked for, in either form."""
    noted = {"team": "shop", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    bench.cluster.seed([config_map("a", annotations=noted, managedFields=[{"manager": "kubectl"}])])
    arguments = {"resource": "cm", "includeAnnotations": annotated}
    answer = orjson.loads(await bench.call("resource_list", arguments | {"output": "json"}))
    assert {key: answer[key] for key in answer if key != "items"} == {"cluster": "east", "resource": "configmaps"}
    text = await bench.call("resource_list", arguments | {"output": "yaml"})
    head, _, documents = text.partition("\n")
    assert head == "cluster east · configmaps · 1 in all"
    for found in (answer["items"], [*yaml.safe_load_all(documents)]):
        [item] = found
        assert item["data"] == {"filler": ""}
        assert "managedFields" not in item["metadata"]
        assert item["metadata"].get("annotations") == ({"team": "shop"} if annotated else None)


@pytest.mark.parametrize("output", ["table", "name", "yaml", "json"])
@pytest.mark.parametrize(("count", "filler", "limit"), [(250, 0, 100), (60, 3000, 500), (7, 0, 3), (30, 20_000, 100)])
async def test_following_continue_gives_everything_once(
    bench: Workbench, output: str, count: int, filler: int, limit: int
) -> None:
    """However a page was cut, by number or by size, the next one goes on where it ended, and each fits."""
    bench.cluster.seed(many(count, filler=filler))
    found = await pages(bench, resource="cm", output=output, limit=limit)
    names: list[str] = []
    for page in found:
        assert len(page.encode()) <= BUDGET
        assert page.startswith(("cluster east · configmaps · ", '{"cluster":"east"'))
        match output:
            case "json":
                names += [item["metadata"]["name"] for item in orjson.loads(page)["items"]]
            case "yaml":
                names += [item["metadata"]["name"] for item in yaml.safe_load_all("\n".join(rows(page)))]
            case "table":
                names += [row.split("\t")[1] for row in rows(page)[1:]]
            case _:
                names += [row.split("\t")[1] for row in rows(page)]
    assert names == [f"map-{number:04}" for number in range(count)]


async def test_a_page_says_how_many_are_left(bench: Workbench) -> None:
    """The first line tells a part from the whole, and the last page from those before."""
    bench.cluster.seed(many(7))
    first, second, last = await pages(bench, resource="cm", limit=3)
    assert first.startswith("cluster east · configmaps · 3 shown, about 4 more\n")
    assert second.startswith("cluster east · configmaps · 3 shown, about 1 more\n")
    assert last.startswith("cluster east · configmaps · last 1\n")
    answer = orjson.loads(await bench.call("resource_list", {"resource": "cm", "limit": 3, "output": "json"}))
    assert answer["remaining"] == 4


async def test_lists_page_also_when_nobody_asks(bench: Workbench) -> None:
    """A hundred items are a page, and five hundred the largest that can be had."""
    bench.cluster.seed(many(600))
    for wish, count in (({}, 100), ({"limit": "7"}, 7), ({"limit": 10_000}, 500)):
        text = await bench.call("resource_list", {"resource": "cm", "output": "name", **wish})
        assert text.startswith(f"cluster east · configmaps · {count} shown, about {600 - count} more\n")


@pytest.mark.parametrize("output", ["yaml", "json"])
async def test_an_item_that_is_too_long_alone_is_cut_where_it_says_so(bench: Workbench, output: str) -> None:
    """The list goes on after it, and it is said how to read the rest."""
    bench.cluster.seed([config_map("a", filler=100_000), config_map("b", filler=10)])
    first, second = await pages(bench, resource="cm", output=output)
    assert len(first.encode()) <= BUDGET
    assert "more bytes]" in first
    assert "The item is too long, so parts are cut: resource_get with parameters.limitBytes reads more." in first
    assert '"name":"b"' in second or "name: b" in second


async def test_an_api_without_pages_is_cut_and_said(bench: Workbench) -> None:
    """metrics.k8s.io gives everything whatever the limit, so what is not shown has to be narrowed to."""
    table = {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": [{"name": "Name", "type": "string", "priority": 0}],
        "rows": [{"cells": [f"pod-{number:03}"]} for number in range(50)],
    }
    with bench.cluster.fault(Reply(200, orjson.dumps(table), "application/json"), paths=["*/configmaps"]):
        text = await bench.call("resource_list", {"resource": "cm", "namespace": "demo", "limit": 3})
    assert text == (
        "cluster east · configmaps in namespace demo · 3 shown\nNAME\npod-000\npod-001\npod-002\n"
        "47 more are not shown, because this API has no pages: narrow with namespace or labelSelector."
    )


async def test_a_server_that_makes_no_tables_is_read_as_well(bench: Workbench) -> None:
    """Some aggregated APIs answer with whole objects whatever was asked for; their names are shown."""
    document = {"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {}, "items": [*many(2)]}
    with bench.cluster.fault(Reply(200, orjson.dumps(document), "application/json"), paths=["*/configmaps"]):
        text = await bench.call("resource_list", {"resource": "cm"})
    assert text == "cluster east · configmaps · 2 in all\ndemo\tmap-0000\ndemo\tmap-0001"


@pytest.mark.parametrize(
    ("other", "account"),
    [
        ({"resource": "pods"}, "demo/mcp"),
        ({"namespace": "demo"}, "demo/mcp"),
        ({"labelSelector": "a=b"}, "demo/mcp"),
        ({"fieldSelector": "metadata.name!=x"}, "demo/mcp"),
        ({}, "demo/other"),
    ],
)
async def test_a_continue_of_another_list_or_caller_is_refused(
    bench: Workbench, other: dict[str, str], account: str
) -> None:
    """An API server would take it anywhere; here it goes on only with the very list it came from."""
    await bench.cluster.apply(
        """
apiVersion: v1
kind: ServiceAccount
metadata: {name: other, namespace: demo}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: other}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: other, namespace: demo}]
"""
    )
    bench.cluster.seed(many(3))
    arguments = {"resource": "cm", "limit": 1}
    following = token_in(await bench.call("resource_list", arguments))
    before = bench.sent()
    text = await bench.failure("resource_list", arguments | other | {"continue": following}, service_account=account)
    assert text == "This `continue` belongs to another list or has lapsed. List again without it."
    assert bench.sent() == before
    assert "map-0001" in await bench.call("resource_list", {"resource": "configmaps", "continue": following})


async def test_a_continue_of_another_cluster_is_refused(bench: Workbench) -> None:
    """Two clusters of equal names and callers do not share pages."""
    bench.cluster.seed(many(3))
    following = token_in(await bench.call("resource_list", {"resource": "cm", "limit": 1}))
    async with EmbeddedCluster("west") as west, Workbench(west, listed(west)) as other:
        text = await other.failure("resource_list", {"resource": "cm", "continue": following})
    assert text.startswith("This `continue` belongs to another list")


async def test_a_continue_that_is_too_old_says_so(bench: Workbench) -> None:
    """410 is the agent's to begin again, in a sentence and without Kubernetes' paragraph about it."""
    bench.cluster.seed(many(3))
    following = token_in(await bench.call("resource_list", {"resource": "cm", "limit": 1}))
    bench.cluster.seed([config_map("younger")])
    bench.cluster.compact()
    text = await bench.failure("resource_list", {"resource": "cm", "limit": 1, "continue": following})
    assert text == "Too old: the list has changed since. List again without `continue`."
    with bench.cluster.fault(ExpireContinue()):
        following = token_in(await bench.call("resource_list", {"resource": "cm", "limit": 1}))
        text = await bench.failure("resource_list", {"resource": "cm", "limit": 1, "continue": following})
    assert text.startswith("Too old")


async def test_selectors_go_to_the_api_server(bench: Workbench) -> None:
    """Labels and fields select there, and nothing found says that it was selected."""
    bench.cluster.seed([config_map("a", labels={"app": "web"}), config_map("b")])
    text = await bench.call("resource_list", {"resource": "cm", "labelSelector": "app in (web)", "output": "name"})
    assert rows(text) == ["demo\ta"]
    text = await bench.call("resource_list", {"resource": "cm", "fieldSelector": "metadata.name=b", "output": "name"})
    assert rows(text) == ["demo\tb"]
    text = await bench.call("resource_list", {"resource": "cm", "labelSelector": "app=none"})
    assert text == "cluster east · configmaps · none matching the selectors"


async def test_an_empty_namespace_may_be_one_that_does_not_exist(bench: Workbench) -> None:
    """Kubernetes lists both alike, so the answer says so."""
    assert await bench.call("resource_list", {"resource": "pods", "namespace": "nowhere"}) == (
        "cluster east · pods in namespace nowhere · none. "
        "A namespace that does not exist lists empty too: see resource_list namespaces"
    )
    assert await bench.call("resource_list", {"resource": "pods"}) == "cluster east · pods · none"


async def test_a_namespace_does_not_matter_to_a_kind_without(bench: Workbench) -> None:
    """Nodes are nodes, whatever namespace was named."""
    await bench.call("resource_list", {"resource": "nodes", "namespace": "demo"})
    assert bench.sent() == ["GET /api/v1/nodes?limit=100&includeObject=None"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"resource": "pods", "labelSelector": "a in ("},
            (
                "The API server rejects the request: unable to parse requirement: found '', expected: ',' or ')'. "
                "Correct it and call again."
            ),
        ),
        (
            {"resource": "pods", "fieldSelector": "spec.bogus=1"},
            "The API server rejects the request: field label not supported: spec.bogus. Correct it and call again.",
        ),
        (
            {"resource": "pods", "namespace": "a/../b"},
            "namespace holds characters that no Kubernetes name has (such as '/', '%' or '..'); give just the name.",
        ),
        (
            {"resource": "pods", "continue": "made-up"},
            "This `continue` belongs to another list or has lapsed. List again without it.",
        ),
    ],
)
async def test_a_mistake_is_told_with_what_to_correct(bench: Workbench, arguments: dict[str, str], text: str) -> None:
    """Whether the gateway or the API server finds it."""
    assert await bench.failure("resource_list", arguments) == text


async def test_what_rbac_forbids_is_said_in_kubernetes_words(bench: Workbench) -> None:
    """Who may not do what where, and what can be done about it."""
    text = await bench.failure("resource_list", {"resource": "pods"}, service_account="demo/viewer")
    assert text == (
        'Forbidden by the cluster\'s RBAC: User "system:serviceaccount:demo:viewer" cannot list resource "pods" in API '
        'group "" at the cluster scope. Use a namespace or kind the token may read, or ask a person to grant it.'
    )
    await bench.call("resource_list", {"resource": "pods", "namespace": "demo"}, service_account="demo/viewer")


@pytest.mark.parametrize("resource", ["secrets", "v1/Secret", "serviceaccounts", "roles", "clusterrolebindings"])
@pytest.mark.parametrize("output", ["table", "name", "yaml", "json"])
async def test_restricted_kinds_are_not_listed_in_any_form(bench: Workbench, resource: str, output: str) -> None:
    """They do not exist, for whoever may read them in the cluster as well."""
    text = await bench.failure("resource_list", {"resource": resource, "output": output})
    assert text.startswith(f"Cluster east serves no '{resource}'.")
    assert bench.sent() == []


async def test_the_policy_narrows_namespaces_and_kinds(workbench: MakeWorkbench) -> None:
    """A refusal names what is allowed, and nothing is sent."""
    bench = await workbench(
        PolicyOptions(
            namespaces=NamespaceRules(allow=frozenset({"demo", "shop"})),
            kinds=KindRules(deny=frozenset({"limitranges"})),
        )
    )
    assert await bench.failure("resource_list", {"resource": "pods"}) == (
        "Name a namespace: the gateway's policy does not allow all of this cluster's at once (only demo, shop)."
    )
    assert await bench.failure("resource_list", {"resource": "pods", "namespace": "kube-system"}) == (
        "The gateway's policy does not allow namespace kube-system on this cluster. Allowed: demo, shop."
    )
    assert (await bench.failure("resource_list", {"resource": "nodes"})).startswith("nodes belongs to no namespace")
    assert (await bench.failure("resource_list", {"resource": "namespaces"})).startswith("namespaces belongs to no")
    assert (await bench.failure("resource_list", {"resource": "limits", "namespace": "demo"})).startswith(
        "Cluster east ser"
    )
    assert bench.sent() == []
    await bench.call("resource_list", {"resource": "pods", "namespace": "demo"})


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (too_many_requests(3), "The API server is busy (Too many requests, please try again later). Try again in 3 s"),
        (
            server_error(500, "etcdserver: leader changed"),
            "The API server failed with status 500: Internal error occurr",
        ),
        (not_json(), "The API server's answer is not valid JSON. Try again; tell a person if it lasts."),
    ],
)
async def test_a_cluster_in_trouble_is_told_in_words(bench: Workbench, fault: Reply, text: str) -> None:
    """Whatever comes back, the agent reads what it is and what to do."""
    with bench.cluster.fault(fault, paths=["*/pods"]):
        assert (await bench.failure("resource_list", {"resource": "pods"})).startswith(text)


async def test_a_smaller_budget_makes_shorter_pages(workbench: MakeWorkbench) -> None:
    """What an operator sets for a cluster holds for its lists."""
    bench = await workbench(limits=LimitOptions(answer_bytes=2048))
    bench.cluster.seed(many(100))
    found = await pages(bench, resource="cm")
    assert len(found) > 1
    assert all(len(page.encode()) <= 2048 for page in found)
