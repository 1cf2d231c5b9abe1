from typing import Any

import orjson
import pytest

from gateway.access.confirmation import WouldFail
from gateway.access.questions import AnswerNeeded, Answers
from gateway.demo.faults import Reply, Truncate
from gateway.policy.options import PolicyOptions
from gateway.tools.naming import resource_type
from gateway.tools.resource_delete import delete
from tests.workbench import MakeWorkbench, Workbench

PATH = "/api/v1/namespaces/demo/configmaps/a"
TARGET = {"resource": "cm", "name": "a", "namespace": "demo"}
DELETES = PolicyOptions(writes=frozenset({"delete"}))


@pytest.fixture
async def person(workbench: MakeWorkbench) -> Workbench:
    """Give a workbench where a person confirms, with a ConfigMap to delete."""
    bench = await workbench(DELETES, label="PROD")
    await create(bench)
    return bench


async def create(bench: Workbench, **metadata: Any) -> None:
    """Create the ConfigMap."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", **metadata}}
    status, answer = await bench.cluster.request("POST", PATH.removesuffix("/a"), body)
    assert status == 201, answer


async def exists(bench: Workbench, path: str = PATH) -> bool:
    """Whether the ConfigMap is there."""
    return (await bench.cluster.request("GET", path))[0] == 200


async def asked(bench: Workbench, **target: Any) -> Any:
    """Return the question that is put."""
    with pytest.raises(AnswerNeeded) as needed:
        await bench.call("resource_delete", target, answers=Answers({}, can_ask=True))
    return needed.value.question


def said(question: Any, word: str | None) -> Answers:
    """Return what the next run knows."""
    return Answers({question.key: word}, can_ask=True)


def deletions(bench: Workbench) -> int:
    """Count the deletions that were sent, tried ones as well."""
    return sum(line.startswith("DELETE") for line in bench.sent())


async def test_a_confirmed_object_is_deleted(person: Workbench) -> None:
    """The question names cluster, object and consequences; after a yes just this object goes."""
    question = await asked(person, **TARGET)
    assert question.message.startswith("Cluster east [PROD]: delete ConfigMap demo/a, created 2")
    assert "is deleted after it" in question.message
    assert await exists(person)
    text = await person.call("resource_delete", TARGET, answers=said(question, "yes"))
    assert text.startswith("cluster east [PROD] · deleted: ConfigMap demo/a, uid ")
    assert not await exists(person)


@pytest.mark.parametrize("word", ["no", None])
async def test_without_a_yes_nothing_is_deleted(person: Workbench, word: str | None) -> None:
    """Declined or unanswered, the object stays and the answer says so."""
    text = await person.call("resource_delete", TARGET, answers=said(await asked(person, **TARGET), word))
    assert text.splitlines()[0] == "cluster east [PROD] · nothing deleted; would be ConfigMap demo/a"
    assert await exists(person)


async def test_a_namesake_is_not_deleted(person: Workbench) -> None:
    """A new object that took the name between question and answer is asked about anew."""
    question = await asked(person, **TARGET)
    await person.cluster.request("DELETE", PATH)
    await create(person)
    with pytest.raises(AnswerNeeded) as needed:
        await person.call("resource_delete", TARGET, answers=said(question, "yes"))
    assert "It has changed since you were asked." in needed.value.question.message
    assert await exists(person)


async def test_a_namesake_is_not_deleted_at_the_last_moment(person: Workbench) -> None:
    """The deletion itself holds only for the object that was read, whatever its policy for dependents."""
    found = orjson.loads((await person.cluster.request("GET", PATH))[1])
    await person.cluster.request("DELETE", PATH)
    await create(person)
    async with person.session() as session:
        kind = await resource_type(session, "configmaps")
        with pytest.raises(WouldFail, match="another object has this name by now"):
            await delete(session, kind, found, "Background", dry_run=False)
    assert await exists(person)


async def test_without_a_word_there_is_a_plan(workbench: MakeWorkbench) -> None:
    """Deleting is always confirmed: under `none` by a plan, which holds for one object and its propagation policy."""
    bench = await workbench(PolicyOptions(writes=frozenset({"delete"}), confirmation="none"))
    await create(bench)
    text = await bench.call("resource_delete", TARGET)
    assert await exists(bench)
    plan = text.rpartition("plan: ")[2]
    other = await bench.failure("resource_delete", {**TARGET, "propagationPolicy": "Orphan", "plan": plan})
    assert "another request" in other
    assert "· deleted: ConfigMap demo/a" in await bench.call("resource_delete", {**TARGET, "plan": plan})
    assert not await exists(bench)


async def test_what_goes_with_it_is_said(person: Workbench) -> None:
    """A namespace and a definition take everything in them along, and finalizers hold an object back."""
    question = await asked(person, resource="ns", name="demo")
    assert "EVERYTHING IN THE NAMESPACE" in question.message
    await person.cluster.request("DELETE", PATH)
    await create(person, finalizers=["example.com/hold"])
    question = await asked(person, **TARGET)
    assert "until these finalizers are gone: example.com/hold" in question.message
    text = await person.call("resource_delete", TARGET, answers=said(question, "yes"))
    assert "· being deleted: ConfigMap demo/a" in text
    assert text.endswith("waits for example.com/hold")


async def test_the_propagation_policy_is_kubernetes_own(person: Workbench) -> None:
    """Background unless asked, and the person reads what it means."""
    question = await asked(person, **TARGET, propagationPolicy="Orphan")
    assert "stays, without an owner" in question.message


async def test_never_more_than_one_object(person: Workbench) -> None:
    """A name that would make the path that of a collection, or nothing at all, sends no deletion."""
    for name in ("", ".", "..", "a/b", "a%2Fb"):
        with pytest.raises(Exception, match="name"):
            await person.call("resource_delete", {**TARGET, "name": name})
    assert deletions(person) == 0


@pytest.mark.parametrize("resource", ["secrets", "serviceaccounts", "roles", "clusterrolebindings"])
async def test_restricted_kinds_do_not_exist(person: Workbench, resource: str) -> None:
    """No restricted kind can be deleted, or even named."""
    text = await person.failure("resource_delete", {"resource": resource, "name": "mcp", "namespace": "demo"})
    assert text.startswith(f"Cluster east [PROD] serves no {resource!r}.")
    assert person.sent() == []


async def test_what_is_not_there_is_not_found(person: Workbench) -> None:
    """A missing object is said to be missing, and nobody is asked."""
    text = await person.failure("resource_delete", {**TARGET, "name": "b"}, answers=Answers({}, can_ask=True))
    assert "not found. Check name and namespace" in text


async def test_rbac_is_asked_before_the_person(person: Workbench) -> None:
    """What the token may not delete is refused before anybody has to think about it."""
    text = await person.failure(
        "resource_delete", TARGET, answers=Answers({}, can_ask=True), service_account="demo/viewer"
    )
    assert text.startswith("Forbidden by the cluster's RBAC")
    assert await exists(person)


async def test_the_policy_has_to_name_it(workbench: MakeWorkbench) -> None:
    """Without `delete` in the policy's writes the tool is not offered."""
    bench = await workbench(PolicyOptions(writes=frozenset({"apply", "post"})))
    assert not bench.tools["resource_delete"].is_offered(bench.options.policy)
    assert bench.tools["resource_delete"].is_offered(DELETES)


@pytest.mark.parametrize("metadata", [None, {}, {"name": "a"}, {"uid": "u"}])
async def test_what_has_no_name_or_uid_is_not_deleted(person: Workbench, metadata: Any) -> None:
    """It could not be made sure that just this object goes; the agent hears so, and not that the gateway failed."""
    found = orjson.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    with person.cluster.fault(Reply(200, found, "application/json"), paths=[PATH], verbs=["get"]):
        text = await person.failure("resource_delete", TARGET)
    assert text.startswith("Nothing was done: what the API server answers has no name or no uid")
    assert deletions(person) == 0


async def test_a_deletion_whose_answer_can_not_be_read_is_told_as_done(person: Workbench) -> None:
    """The status has said that it is done; a cut answer must not turn that into a failure."""
    question = await asked(person, **TARGET)
    with person.cluster.fault(Truncate(10), paths=[PATH], verbs=["delete"]):
        text = await person.call("resource_delete", TARGET, answers=said(question, "yes"))
    assert "deleted: ConfigMap demo/a" in text
    assert not await exists(person)
