"""Waiting: by one list and one watch, for what kubectl means by it, and never longer than asked."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.access.session import Caller
from gateway.demo import EmbeddedCluster
from gateway.demo.faults import server_error
from gateway.kube.credential import BearerToken
from gateway.kube.types import ResourceType
from gateway.policy.options import NamespaceRules, PolicyOptions
from gateway.tools.goals import goal_of
from gateway.tools.resource_wait import TOOL, WaitArguments
from tests.workbench import NOBODY, MakeWorkbench, Workbench

CONFIG = "/api/v1/namespaces/demo/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/demo/deployments"


def _kind(plural: str, kind: str) -> ResourceType:
    return ResourceType("apps", "v1", plural, kind, kind.lower(), namespaced=True, verbs=frozenset({"watch"}))


DEPLOYMENT = _kind("deployments", "Deployment")
STATEFUL_SET = _kind("statefulsets", "StatefulSet")
DAEMON_SET = _kind("daemonsets", "DaemonSet")


def _web(status: dict[str, Any], generation: int = 2, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "demo", "uid": "web", "generation": generation},
        "spec": {"replicas": 3, **spec},
        "status": status,
    }


ROLLING = {"observedGeneration": 2, "replicas": 4, "updatedReplicas": 1, "availableReplicas": 3}
ROLLED = {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}


@asynccontextmanager
async def waiting(bench: Workbench, **arguments: Any) -> AsyncIterator["asyncio.Task[str]"]:
    """Start a wait, and give it once its watch is open; it must end before the test does."""
    before = len([sent for sent in bench.sent() if "watch=true" in sent])
    task = asyncio.create_task(bench.call("resource_wait", arguments))
    async with asyncio.timeout(10):
        while len([sent for sent in bench.sent() if "watch=true" in sent]) == before and not task.done():  # noqa: ASYNC110  # a request
            await asyncio.sleep(0.005)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_rollout_is_waited_for_by_one_list_and_one_watch(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """Each step must be told while it waits, and the end must come with the change that completes the rollout."""
    cluster.seed([_web(ROLLING)])
    async with waiting(bench, resource="deploy", name="web", namespace="demo", condition="rolled out") as wait:
        cluster.seed([_web(ROLLING | {"updatedReplicas": 3})])
        cluster.seed([_web(ROLLED | {"availableReplicas": 2})])
        cluster.seed([_web(ROLLED)])
        text = await wait
    first, detail = text.splitlines()
    assert first.startswith("cluster east · deployments.apps/web in namespace demo · rolled out after ")
    assert detail == "3 of 3 replicas are updated and available"
    assert [words for _, _, words in bench.reports] == [
        "1 of 3 replicas are updated",
        "1 old replicas are still ending",
        "2 of 3 updated replicas are available",
    ]
    elapsed = [done for done, _, _ in bench.reports]
    assert elapsed == sorted(elapsed)
    assert [sent.partition("?")[0] for sent in bench.sent()] == [f"GET {DEPLOYMENTS}"] * 2
    assert "fieldSelector=metadata.name%3Dweb" in bench.sent()[1]


async def test_what_is_so_already_costs_one_request(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """Where nothing is to be waited for, no watch must be opened."""
    cluster.seed([_web(ROLLED)])
    text = await bench.call("resource_wait", {"resource": "deploy", "name": "web", "condition": "rollout complete"})
    assert "rolled out already" in text
    assert not [sent for sent in bench.sent() if "watch=true" in sent]


async def test_the_time_limit_says_what_is_missing(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """At its limit the answer must say how far it came and why, without being an error."""
    refused = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}
    cluster.seed([_web(ROLLING | {"conditions": [refused]})])
    arguments = {"resource": "deploy", "name": "web", "namespace": "demo", "condition": "rolled out", "timeout": "0.1"}
    text = await bench.call("resource_wait", arguments)
    assert "· NOT rolled out after 0 s" in text.splitlines()[0]
    assert "1 of 3 replicas are updated; ReplicaFailure=True (FailedCreate: exceeded quota)" in text
    assert "Call again" in text
    assert bench.pool.state().leases == 0
    assert bench.access.watches.open == 0


async def test_what_is_hopeless_ends_at_once(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """A rollout over its progress deadline must not be waited for to the limit."""
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    cluster.seed([_web(ROLLING | {"conditions": [late]})])
    text = await bench.call("resource_wait", {"resource": "deploy", "name": "web", "condition": "rolled out"})
    assert "NOT rolled out, and waiting longer will not help" in text
    assert "ProgressDeadlineExceeded" in text
    assert text.endswith("If that is mended already, wait for condition Available.")


async def test_existence_and_deletion(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """What is not there yet can be waited for, and so can its end; another object of the name does not prolong it."""
    named = {"resource": "cm", "name": "late", "namespace": "demo"}
    async with waiting(bench, **named, condition="exists") as wait:
        await cluster.request("POST", CONFIG, {"metadata": {"name": "late"}})
        assert "configmaps/late in namespace demo · exists after" in await wait
    assert "exists already" in await bench.call("resource_wait", {**named, "condition": "exists"})
    async with waiting(bench, **named, condition="deleted") as wait:
        await cluster.request("DELETE", f"{CONFIG}/late")
        await cluster.request("POST", CONFIG, {"metadata": {"name": "late"}})
        assert "· deleted after" in await wait
    gone = {"resource": "cm", "name": "never-was", "condition": "deleted"}
    assert "deleted already" in await bench.call("resource_wait", gone)


async def test_all_that_a_selector_matches(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """A condition must hold for all that match, those that come meanwhile included."""

    def pod(name: str, ready: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "demo", "uid": name, "labels": {"app": "web"}},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready, "reason": "Starting"}]},
        }

    cluster.seed([pod("a", "True"), pod("b", "False")])
    async with waiting(bench, resource="pods", labelSelector="app=web", condition="ready") as wait:
        cluster.seed([pod("c", "False")])
        cluster.seed([pod("b", "True")])
        cluster.seed([pod("c", "True")])
        text = await wait
    assert text.startswith("cluster east · pods matching app=web · ready after")
    assert text.endswith("· all 3")
    assert bench.reports[0][2] == "1 of 2 are as wanted; demo/b: Ready=False (Starting)"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"resource": "cm", "condition": "exists"}, "either name or labelSelector"),
        (
            {"resource": "cm", "name": "a", "labelSelector": "a=b", "condition": "exists"},
            "either name or labelSelector",
        ),
        ({"resource": "cm", "name": "a", "condition": "jsonpath={.status}"}, "No condition"),
        ({"resource": "cm", "name": "kube-root-ca.crt", "namespace": "demo", "condition": "rolled out"}, "no rollout"),
        ({"resource": "cm", "name": "typo", "namespace": "demo", "condition": "Ready"}, "there is no configmaps/typo"),
        ({"resource": "cm", "labelSelector": "no=match", "condition": "Ready"}, "there is no configmaps matching"),
        ({"resource": "secrets", "name": "a", "condition": "exists"}, "serves no 'secrets'"),
        ({"resource": "nonsense", "name": "a", "condition": "exists"}, "serves no 'nonsense'"),
        ({"resource": "cm", "name": "a/../b", "condition": "exists"}, "no Kubernetes name has"),
        ({"resource": "cm", "name": "a,metadata.namespace=b", "condition": "exists"}, "no Kubernetes name has"),
    ],
)
async def test_what_can_not_be_waited_for(bench: Workbench, arguments: dict[str, Any], words: str) -> None:
    """A mistake must be told at once, with what to do."""
    assert words in await bench.failure("resource_wait", arguments)


async def test_the_policy_holds_for_watches(workbench: MakeWorkbench) -> None:
    """What may not be listed may not be watched either."""
    bench = await workbench(policy=PolicyOptions(namespaces=NamespaceRules(allow=frozenset({"demo"}))))
    wait = {"resource": "pods", "labelSelector": "a=b", "condition": "exists", "timeout": 0.1}
    assert "Name a namespace" in await bench.failure("resource_wait", wait)
    assert "does not allow" in await bench.failure("resource_wait", {**wait, "namespace": "kube-system"})
    assert bench.sent() == []


async def test_a_watch_that_breaks_is_opened_again(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """A connection that dies, and a past that was forgotten, must not end a wait or make it miss the change."""
    cluster.seed([_web(ROLLING)])
    async with waiting(bench, resource="deploy", name="web", namespace="demo", condition="rolled out") as wait:
        cluster.compact()
        cluster.cut_connections()
        cluster.seed([_web(ROLLED)])
        assert "rolled out after" in await wait
    # What happened is on record: the wait's watches, one of which broke.
    assert [record.verb for record in bench.records].count("watch") >= 1


async def test_another_object_of_the_name_is_not_the_one_that_goes(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """Where an object was replaced while nobody watched, it is gone all the same."""

    def seed(uid: str) -> None:
        cluster.seed(
            [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "demo", "uid": uid}}]
        )

    seed("first")
    async with waiting(bench, resource="cm", name="a", namespace="demo", condition="deleted") as wait:
        seed("second")
        cluster.compact()
        cluster.cut_connections()
        assert "deleted after" in await wait


async def test_a_cluster_that_is_away_is_said(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """Where the cluster can't be asked any more, the answer must say that what it tells may be out of date."""
    cluster.seed([_web(ROLLING)])
    arguments = {"resource": "deploy", "name": "web", "namespace": "demo", "condition": "rolled out", "timeout": 0.5}
    async with waiting(bench, **arguments) as wait:
        with cluster.fault(server_error(503, "away"), paths=["/apis/apps/*"]):
            cluster.cut_connections()
            text = await wait
    assert "NOT rolled out" in text
    assert "away" in text


async def test_it_ends_with_the_token(workbench: MakeWorkbench, cluster: EmbeddedCluster) -> None:
    """A wait must not go on with a token that has lapsed, and must say why it ended."""
    bench = await workbench()
    cluster.seed([_web(ROLLING)])
    token = await cluster.token(seconds=2)
    caller = Caller(await bench.identity.authenticate(token), BearerToken.of(token), bench.options, "request-1")
    arguments = WaitArguments(resource="deploy", name="web", namespace="demo", condition="rolled out")
    async with bench.access.session(caller, "resource_wait", NOBODY) as session:
        text = await TOOL.run(session, arguments)
    assert time.time() >= caller.principal.expires_at
    assert "ended with the token" in text


async def test_a_longer_wish_is_capped_and_said(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """No wait may be longer than five minutes, whatever was asked for."""
    cluster.seed([_web(ROLLING)])
    arguments = WaitArguments(resource="deploy", name="web", namespace="demo", condition="rolled out", timeout=900)
    assert TOOL.seconds is not None
    assert TOOL.seconds(arguments) <= 360
    async with waiting(bench, **arguments.model_dump(by_alias=True, exclude_none=True)):
        pass
    assert bench.reports[0][1] == 300


async def test_a_cancelled_wait_leaves_nothing_behind(bench: Workbench, cluster: EmbeddedCluster) -> None:
    """When the caller goes away, watch, place and lease must be free again, and the watch must be on record."""
    cluster.seed([_web(ROLLING)])
    async with waiting(bench, resource="deploy", name="web", namespace="demo", condition="rolled out"):
        assert bench.access.watches.open == 1
        assert bench.pool.state().leases == 1
        # The calls that may use the cluster at once are not used up by those that wait.
        async with asyncio.timeout(10):
            while "0 inside, 0 waiting" not in repr(bench.pool):  # noqa: ASYNC110  # it is inside until it is open
                await asyncio.sleep(0.005)
    assert bench.access.watches.open == 0
    assert bench.pool.state().leases == 0
    assert [record.verb for record in bench.records] == ["list", "watch"]


@pytest.mark.parametrize(
    ("kind", "item", "done", "words"),
    [
        (DEPLOYMENT, _web({"observedGeneration": 1} | {"updatedReplicas": 3}), False, "not yet taken note"),
        (DEPLOYMENT, _web(ROLLED), True, "3 of 3"),
        (DEPLOYMENT, _web({"observedGeneration": 2}, replicas=0), True, "0 of 0"),
        (DEPLOYMENT, _web(ROLLING, paused=True), False, "it is paused"),
        (
            STATEFUL_SET,
            _web({"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 1, "updateRevision": "b"}),
            False,
            "1 of 3 replicas are updated to revision b",
        ),
        (
            STATEFUL_SET,
            _web(
                {"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 1, "updateRevision": "b"},
                updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}},
            ),
            True,
            "1 of 1 replicas above partition 2",
        ),
        (STATEFUL_SET, _web({"observedGeneration": 2, "readyReplicas": 2}), False, "2 of 3 replicas are ready"),
        (STATEFUL_SET, _web(ROLLED, updateStrategy={"type": "OnDelete"}), False, "OnDelete"),
        (
            DAEMON_SET,
            _web({"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 1}),
            False,
            "1 of 2 pods are updated",
        ),
        (
            DAEMON_SET,
            _web({"observedGeneration": 2, "desiredNumberScheduled": 1, "updatedNumberScheduled": 1}),
            False,
            "0 of 1 updated pods are available",
        ),
    ],
)
def test_rollouts_are_judged_as_kubectl_does(
    kind: ResourceType,
    item: dict[str, Any],
    done: bool,  # noqa: FBT001
    words: str,
) -> None:
    """Each of the three workloads must be complete just where `kubectl rollout status` would end."""
    verdict = goal_of("rolled out", kind).judge(item)
    assert verdict.done is done
    assert words in verdict.words


@pytest.mark.parametrize(
    ("typed", "status", "done"),
    [
        ("Ready", {"conditions": [{"type": "Ready", "status": "True"}]}, True),
        ("condition=ready", {"conditions": [{"type": "Ready", "status": "True"}]}, True),
        ("Ready=false", {"conditions": [{"type": "Ready", "status": "False"}]}, True),
        ("Complete=True", {"conditions": [{"type": "Complete", "status": "False"}]}, False),
        ("Ready", {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}, False),
        ("Bound", {"phase": "Bound"}, True),
        ("Ready", {}, False),
    ],
)
def test_conditions_are_read_as_they_are_typed(typed: str, status: dict[str, Any], done: bool) -> None:  # noqa: FBT001
    """Letter case does not matter, a phase counts as a condition, and what speaks of an older generation does not."""
    assert goal_of(typed, DEPLOYMENT).judge(_web(status)).done is done
