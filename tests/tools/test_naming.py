from collections.abc import Iterable

import pytest

from gateway.access.questions import AnswerNeeded, Answers
from gateway.demo.wire import Obj
from gateway.errors import BadArgument, GatewayError, NotOffered
from gateway.policy.options import NamespaceRules, PolicyOptions
from gateway.tools.naming import namespace_of, resource_type, shown
from tests.workbench import MakeWorkbench, Workbench


def crd(group: str) -> str:
    """Return a kind of Cluster in a group, as several operators have one."""
    return f"""
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: clusters.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{plural: clusters, singular: cluster, kind: Cluster, listKind: ClusterList}}
  versions: [{{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object}}}}}}]
"""


def maps(name: str, *namespaces: str) -> Iterable[Obj]:
    """Return a ConfigMap of one name in several namespaces."""
    for namespace in namespaces:
        yield {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace},
            "data": {},
        }


@pytest.mark.parametrize("typed", ["deploy", "Deployment", "DEPLOYMENTS", "deployments.apps", "apps/v1/Deployment"])
async def test_one_match_is_used(bench: Workbench, typed: str) -> None:
    """However people write it, it is the same type."""
    async with bench.session() as session:
        assert (await resource_type(session, typed)).qualified == "deployments.apps"


async def test_a_kind_that_is_not_served_gets_the_nearest_names(bench: Workbench) -> None:
    """The text names what could have been meant, and repeats no more than a little of what was typed."""
    async with bench.session() as session:
        with pytest.raises(NotOffered, match=r"^Cluster east serves no 'deploymnets'\. Did you mean deployments\.apps"):
            await resource_type(session, "deploymnets")
        with pytest.raises(NotOffered, match=r"^Cluster east serves no 'q\?\?7{77}'\. Call resource_types") as caught:
            await resource_type(session, "q\n\x1b" + "7" * 300)
        assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    "typed", ["secrets", "Secret", "v1/Secret", "serviceaccounts", "sa", "roles", "clusterrolebinding"]
)
async def test_restricted_kinds_are_neither_found_nor_suggested(bench: Workbench, typed: str) -> None:
    """They do not exist, not even as what was nearly typed (promise 7)."""
    async with bench.session() as session:
        for spelling in (typed, f"{typed}x"):
            with pytest.raises(NotOffered) as caught:
                await resource_type(session, spelling)
            suggested = caught.value.message.replace(f"'{spelling}'", "").lower()
            assert not any(word in suggested for word in ("secret", "serviceaccount", "role"))
    assert bench.sent() == []


async def test_a_kind_younger_than_the_catalog_is_found(bench: Workbench) -> None:
    """A definition that was just applied is there at the next call."""
    async with bench.session() as session:
        await session.catalog()
        await bench.cluster.apply(crd("a.example"))
        assert (await resource_type(session, "clusters")).qualified == "clusters.a.example"


async def test_which_of_several_kinds_is_the_persons_choice(bench: Workbench) -> None:
    """With a person there it is asked; what is chosen is used, and a declined question becomes a list of names."""
    for group in ("a.example", "b.example"):
        await bench.cluster.apply(crd(group))
    async with bench.session(answers=Answers({}, can_ask=True)) as session:
        with pytest.raises(AnswerNeeded) as caught:
            await resource_type(session, "cluster")
        assert caught.value.question.message == "'cluster' can mean several kinds. Which one?"
        assert caught.value.question.choices == ("clusters.a.example", "clusters.b.example")
    async with bench.session(answers=Answers({"resource": "clusters.b.example"}, can_ask=True)) as session:
        assert (await resource_type(session, "cluster")).group == "b.example"
    for answers in (Answers({}, can_ask=False), Answers({"resource": None}, can_ask=True)):
        async with bench.session(answers=answers) as session:
            with pytest.raises(BadArgument) as refused:
                await resource_type(session, "cluster")
            assert refused.value.message == (
                "'cluster' can mean clusters.a.example, clusters.b.example. Call again with one of these."
            )


async def test_a_namespace_that_is_given_is_not_looked_for(bench: Workbench) -> None:
    """The object itself is the only request then; a kind without namespaces has none, whatever was given."""
    async with bench.session() as session:
        pods, nodes = await resource_type(session, "pods"), await resource_type(session, "nodes")
        assert await namespace_of(session, pods, "web", "demo") == "demo"
        assert await namespace_of(session, nodes, "east-1", "demo") == ""
    assert bench.sent() == []


async def test_a_missing_namespace_is_found_by_the_name(bench: Workbench) -> None:
    """What is in one namespace only needs no question."""
    bench.cluster.seed(maps("settings", "demo"))
    async with bench.session() as session:
        kind = await resource_type(session, "cm")
        assert await namespace_of(session, kind, "settings", None) == "demo"
    assert bench.sent() == ["GET /api/v1/configmaps?fieldSelector=metadata.name%3Dsettings&limit=20"]


async def test_which_of_several_namespaces_is_the_persons_choice(bench: Workbench) -> None:
    """Asked with those it is in, and listed where nobody answers."""
    bench.cluster.seed(maps("settings", "demo", "default"))
    async with bench.session(answers=Answers({}, can_ask=True)) as session:
        kind = await resource_type(session, "cm")
        with pytest.raises(AnswerNeeded) as caught:
            await namespace_of(session, kind, "settings", None)
        assert caught.value.question.choices == ("default", "demo")
        assert caught.value.question.message == "ConfigMap settings exists in several namespaces. Which one?"
    async with bench.session(answers=Answers({"namespace": "demo"}, can_ask=True)) as session:
        assert await namespace_of(session, kind, "settings", None) == "demo"
    async with bench.session() as session:
        with pytest.raises(BadArgument, match=r"is in several namespaces: default, demo\. Call again"):
            await namespace_of(session, kind, "settings", None)


async def test_a_name_that_is_nowhere_is_told_with_how_to_see_the_names(bench: Workbench) -> None:
    """The next step is one call."""
    async with bench.session() as session:
        kind = await resource_type(session, "deploy")
        with pytest.raises(NotOffered) as caught:
            await namespace_of(session, kind, "nobody", None)
    assert caught.value.message == (
        "No namespace of cluster east has deployments 'nobody'. "
        "Call resource_list with resource=deployments.apps to see the names."
    )


async def test_a_namespace_must_be_named_where_not_all_may_be_read(workbench: MakeWorkbench) -> None:
    """Whether RBAC or the policy forbids to look through all of them, the caller can name one."""
    strict = await workbench(PolicyOptions(namespaces=NamespaceRules(allow=frozenset({"demo"}))))
    open_ = await workbench()
    for bench, account in ((strict, "demo/mcp"), (open_, "demo/viewer")):
        async with bench.session(service_account=account) as session:
            kind = await resource_type(session, "cm")
            with pytest.raises(BadArgument, match=r"^Name the namespace of ConfigMap settings"):
                await namespace_of(session, kind, "settings", None)


@pytest.mark.parametrize("name", ["a/b", "a%2Flog", "..", ".", "a\\b", "a\nb", "x" * 300])
async def test_a_name_that_could_reach_another_path_is_not_even_looked_for(bench: Workbench, name: str) -> None:
    """It is refused with what is wrong about it, and nothing is sent."""
    async with bench.session() as session:
        kind = await resource_type(session, "pods")
        with pytest.raises(BadArgument, match=r"^name (holds|is longer)"):
            await namespace_of(session, kind, name, None)
    assert bench.sent() == []


async def test_a_name_does_not_change_what_is_selected(bench: Workbench) -> None:
    """A comma in a name is a part of it and no second condition."""
    bench.cluster.seed(maps("settings", "demo"))
    async with bench.session() as session:
        kind = await resource_type(session, "cm")
        with pytest.raises(GatewayError):
            await namespace_of(session, kind, "settings,metadata.namespace=demo", None)
    assert bench.sent() == [
        "GET /api/v1/configmaps?fieldSelector=metadata.name%3Dsettings%5C%2Cmetadata.namespace%5C%3Ddemo&limit=20"
    ]


def test_what_was_typed_is_shown_short_and_printable() -> None:
    """Nothing that a terminal would obey, and no page of text, gets into a sentence."""
    assert shown("a\x1b[2J\u202eb") == "a?[2J?b"
    assert len(shown("x" * 500)) == 80
