from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from gateway.access.questions import AnswerNeeded, Answers, Question
from gateway.clusters.options import LimitOptions
from gateway.demo import EmbeddedCluster
from gateway.demo.faults import Hang, Reply, Reset
from gateway.errors import BadArgument
from gateway.policy.options import PolicyOptions
from gateway.tools.running import ExecBody
from tests.workbench import MakeWorkbench, Workbench

SUBRESOURCES = frozenset({"pods/exec", "pods/eviction"})
FREE = PolicyOptions(writes=frozenset({"post"}), subresources=SUBRESOURCES, confirmation="none")
ASKING = FREE.model_copy(update={"confirmation": "person"})
PLANNING = FREE.model_copy(update={"confirmation": "plan"})
ASKABLE = Answers({}, can_ask=True)
RUNNING: Mapping[str, Any] = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def pod(name: str = "web", *containers: str, state: Mapping[str, Any] = RUNNING, **more: Any) -> dict[str, Any]:
    """Return a pod with these containers, `main` by default, all in one state; `more` goes into its metadata."""
    names = containers or ("main",)
    phase = "Running" if "running" in state else "Succeeded" if "terminated" in state else "Pending"
    metadata = {"name": name, "namespace": "demo", "uid": f"uid-{name}", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**metadata, **more},
        "spec": {"nodeName": "node1", "containers": [{"name": each, "image": "busybox"} for each in names]},
        "status": {
            "phase": phase,
            "containerStatuses": [{"name": each, "state": dict(state), "containerID": f"c-{each}"} for each in names],
        },
    }


def command(*words: str, name: str = "web", **body: Any) -> dict[str, Any]:
    """Return the arguments that run a command."""
    given = {"command": list(words), **body}
    return {"resource": "pods", "name": name, "namespace": "demo", "subresource": "exec", "body": given}


def evict(name: str = "web", **body: Any) -> dict[str, Any]:
    """Return the arguments that evict a pod."""
    return {"resource": "pods", "name": name, "namespace": "demo", "subresource": "eviction", "body": body}


def result(text: str) -> Any:
    """Return the JSON below an answer's first line."""
    return orjson.loads(text.split("\n", 1)[1])


def execs(bench: Workbench) -> list[str]:
    """Return the execs and evictions that reached the API server, those that only tried left out."""
    return [line for line in bench.sent() if ("/exec?" in line or "/eviction" in line) and "dryRun" not in line]


@pytest.fixture
async def free(workbench: MakeWorkbench, cluster: EmbeddedCluster) -> Workbench:
    """Give a workbench on which everything may be done without asking, and the pod `web`."""
    cluster.seed([pod()])
    return await workbench(FREE)


async def test_the_result_has_mkp_s_shape(free: Workbench) -> None:
    """Whoever read MKP's results reads these: the pod, the command, and stdout, stderr and error in the status."""
    text = await free.call("resource_post", command("echo", "hi  there"))
    assert text.splitlines()[0].startswith("cluster east · pod demo/web, container main · exit code 0 in ")
    assert result(text) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "demo"},
        "spec": {"command": ["echo", "hi  there"]},
        "status": {"stdout": "hi  there\n", "stderr": "", "exitCode": 0, "error": ""},
    }


async def test_a_command_that_fails_is_no_failure_of_the_tool(free: Workbench) -> None:
    """The exit code and what stands on standard error are a result like any other."""
    text = await free.call("resource_post", command("cat", "/nowhere"))
    assert "exit code 1" in text.splitlines()[0]
    assert "No such file" in result(text)["status"]["stderr"]
    assert result(text)["status"]["stdout"] == ""


async def test_an_unknown_command_is_127(free: Workbench) -> None:
    """The shell's own code and words say that there is no such program."""
    text = await free.call("resource_post", command("no-such-program"))
    assert "exit code 127" in text
    assert "not found" in result(text)["status"]["stderr"]


async def test_one_command_is_one_request_and_is_recorded(free: Workbench) -> None:
    """One read of the pod, one exec, and an audit record of each, without the command."""
    await free.call("resource_post", command("echo", "hi"))
    assert len(execs(free)) == 1
    records = [(each.verb, each.resource, each.subresource, each.decision, each.status) for each in free.records]
    assert records == [("get", "pods", "", "allow", 200), ("get", "pods", "exec", "allow", 101)]
    assert free.records[-1].bytes == 3


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("ls -l /tmp", ["ls", "-l", "/tmp"]),
        ("grep 'two words' file", ["grep", "two words", "file"]),
        ("ps aux | grep x", ["sh", "-c", "ps aux | grep x"]),
        ("echo $HOME", ["sh", "-c", "echo $HOME"]),
        ("A=1 env", ["sh", "-c", "A=1 env"]),
        ("cd /\nls", ["sh", "-c", "cd /\nls"]),
        (["echo", "a | b"], ["echo", "a | b"]),
        (["sleep", 5], ["sleep", "5"]),
        (["echo", " spaced ", ""], ["echo", " spaced ", ""]),
    ],
)
def test_a_text_is_split_as_a_shell_would_or_given_to_one(given: Any, words: list[str]) -> None:
    """Plain words need no shell in the container; what only a shell understands gets one; a list is left alone."""
    assert ExecBody.model_validate({"command": given}).words() == words


def test_a_quote_without_its_end_is_told() -> None:
    """The agent is asked for a list, which has no quoting."""
    with pytest.raises(BadArgument, match="list of words"):
        ExecBody.model_validate({"command": "echo 'half"}).words()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "command: Field required"),
        ({"command": []}, "names no program"),
        ({"command": "  "}, "names no program"),
        ({"command": ["a\0b"]}, "NUL"),
        ({"command": ["x" * 9000, "y" * 9000]}, "longer than 16 KB"),
        ({"command": "ls", "timeout": 0}, "timeout"),
        ({"command": "ls", "timeout": "soon"}, "timeout"),
        ({"command": "ls", "tty": True}, "tty"),
        ({"command": {"a": 1}}, "command"),
    ],
)
async def test_a_bad_body_is_told(free: Workbench, body: dict[str, Any], says: str) -> None:
    """Whatever can't be run is refused before anything is sent, and the text says what is right."""
    text = await free.failure("resource_post", {**command("x"), "body": body})
    assert says in text
    assert "command (a list of words or a shell line), container, timeout" in text
    assert not execs(free)


async def test_a_body_may_be_its_own_json_text(free: Workbench) -> None:
    """Some clients send objects as text; text that is none is refused."""
    with pytest.raises(ValidationError):
        await free.call("resource_post", {**command("x"), "body": '{"command": '})
    text = await free.call("resource_post", {**command("x"), "body": '{"command": ["echo", "hi"]}'})
    assert result(text)["status"]["stdout"] == "hi\n"


async def test_the_container_is_kubectl_s_choice(workbench: MakeWorkbench, cluster: EmbeddedCluster) -> None:
    """The pod's annotation names it, else it is the first; the caller's word goes before both."""
    annotated = {"annotations": {"kubectl.kubernetes.io/default-container": "two"}}
    cluster.seed([pod("plain", "one", "two"), pod("annotated", "one", "two", **annotated)])
    bench = await workbench(FREE)
    for name, container, more in (
        ("plain", "one", {}),
        ("annotated", "two", {}),
        ("plain", "two", {"container": "two"}),
    ):
        text = await bench.call("resource_post", command("true", name=name, **more))
        assert f"pod demo/{name}, container {container} ·" in text
        assert f"container={container}&" in execs(bench)[-1]


async def test_an_unknown_container_is_told_with_those_there_are(free: Workbench) -> None:
    """The names to choose from stand in the answer."""
    text = await free.failure("resource_post", command("true", container="nix"))
    assert text == "The pod has no container 'nix'. It has: main."


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (
            {"terminated": {"reason": "Completed", "exitCode": 0}},
            "it has ended (Completed 0), and the pod is Succeeded",
        ),
        ({"waiting": {"reason": "CrashLoopBackOff"}}, "it waits (CrashLoopBackOff)"),
        ({}, "it has not started, and the pod is Pending"),
    ],
)
async def test_nothing_is_sent_to_a_container_that_does_not_run(
    workbench: MakeWorkbench, cluster: EmbeddedCluster, state: dict[str, Any], says: str
) -> None:
    """A finished or waiting container is known from the pod, with what it is instead and where to look."""
    cluster.seed([pod(state=state)])
    bench = await workbench(FREE)
    text = await bench.failure("resource_post", command("true"))
    assert says in text
    assert "resource_get" in text
    assert not execs(bench)


async def test_a_container_that_ended_meanwhile_is_told(free: Workbench, cluster: EmbeddedCluster) -> None:
    """What the kubelet says in plain text becomes a sentence: nothing was run."""
    with cluster.fault(Reply(500, b'container not found ("main")', "text/plain"), paths=["*/exec"]):
        text = await free.failure("resource_post", command("true"))
    assert text.startswith('Nothing was run: container not found ("main").')


async def test_a_failure_that_says_nothing_of_the_command_leaves_it_open(
    free: Workbench, cluster: EmbeddedCluster
) -> None:
    """A proxy's 504 may come after the command has begun: it must not be told as not run."""
    with cluster.fault(Reply(504, b"upstream timed out", "text/plain"), paths=["*/exec"]) as fault:
        text = await free.failure("resource_post", command("true"))
    assert text.startswith("The API server failed with status 504: upstream timed out. The command may have run")
    assert fault.hits == 1


async def test_a_long_command_is_not_repeated_whole(free: Workbench) -> None:
    """The answer has enough of it to know it by."""
    text = await free.call("resource_post", command("true", "x" * 290, "y" * 4_000, "z"))
    assert result(text)["spec"]["command"] == ["true", "x" * 290, "yyyyyy…"]


async def test_a_workload_stands_for_its_newest_running_pod(workbench: MakeWorkbench, cluster: EmbeddedCluster) -> None:
    """The workload's selector finds its pods; of those that run, the newest is used, and named."""
    labels = {"labels": {"app": "web"}}
    meta = {"name": "web", "namespace": "demo", "uid": "uid-d", "creationTimestamp": "2026-01-01T00:00:00Z"}
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {}}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}
    waiting = {"waiting": {"reason": "ContainerCreating"}}
    cluster.seed(
        [
            deployment,
            pod("web-1", **labels, creationTimestamp="2026-01-02T00:00:00Z"),
            pod("web-2", **labels, creationTimestamp="2026-01-03T00:00:00Z"),
            pod("web-3", **labels, creationTimestamp="2026-01-04T00:00:00Z", state=waiting),
            pod("other", creationTimestamp="2026-01-05T00:00:00Z"),
        ]
    )
    bench = await workbench(FREE)
    text = await bench.call("resource_post", {**command("hostname", name="web"), "resource": "deploy"})
    assert "pod demo/web-2 (newest, of 2, of Deployment web), container main" in text
    assert result(text)["status"]["stdout"] == "web-2\n"


async def test_what_takes_too_long_is_ended(free: Workbench) -> None:
    """At its time limit a command is ended, and the answer has what it said until then."""
    text = await free.call("resource_post", command("sh", "-c", "echo begun; sleep 1000", timeout=0.2))
    assert "not finished within 0.2 s: ended with all it had started" in text
    status = result(text)["status"]
    assert (status["stdout"], status["exitCode"], status["error"]) == ("begun\n", None, "command timed out")


@pytest.mark.parametrize(("wish", "seconds"), [(300, 60), ("2m", 60), ("30s", 30), ("45", 45), (None, 15)])
async def test_a_longer_time_than_a_minute_is_capped_and_said(
    workbench: MakeWorkbench, cluster: EmbeddedCluster, wish: Any, seconds: int
) -> None:
    """The question shows the time that counts; the answer says where it is not the one asked for."""
    cluster.seed([pod()])
    asking = await workbench(ASKING)
    question = await asked(asking, command("true", timeout=wish))
    assert f"for {seconds} s at most" in question.message
    text = await (await workbench(FREE)).call("resource_post", command("true", timeout=wish))
    assert ("60 s are the most" in text) == (wish in {300, "2m"})


async def test_what_writes_for_ever_is_ended_and_cut(free: Workbench) -> None:
    """The answer stays within its budget, says what is missing, and has the beginning and the end."""
    text = await free.call("resource_post", command("yes", "line", timeout=30))
    assert "wrote more than 8 MiB: ended" in text
    assert "output cut" in text
    assert len(text.encode()) <= free.options.limits.answer_bytes
    status = result(text)["status"]
    assert status["truncated"]
    assert "bytes left out]" in status["stdout"]


@pytest.mark.parametrize("arguments", [command("true"), evict()])
async def test_without_the_policy_nobody_is_asked_and_nothing_sent(
    workbench: MakeWorkbench, cluster: EmbeddedCluster, arguments: dict[str, Any]
) -> None:
    """What the policy does not name is refused and recorded before the pod is read or a person disturbed."""
    cluster.seed([pod()])
    bench = await workbench(PolicyOptions(writes=frozenset({"post"})))
    text = await bench.failure("resource_post", arguments, answers=ASKABLE)
    assert text == f"The gateway does not allow the subresource pods/{arguments['subresource']} on this cluster."
    assert bench.sent() == []
    assert [(each.subresource, each.decision) for each in bench.records] == [(arguments["subresource"], "refused")]


async def test_the_tool_is_offered_where_the_policy_has_post(bench: Workbench) -> None:
    """A read-only cluster has no such tool at all."""
    made = bench.tools["resource_post"]
    assert made.is_offered(FREE)
    assert not made.is_offered(PolicyOptions())
    assert (made.rate, made.read_only, made.destructive, made.idempotent) == ("others", False, True, False)


async def test_rbac_decides_in_the_end(free: Workbench) -> None:
    """A reader's token can't run anything, and the words are those of RBAC."""
    text = await free.failure("resource_post", command("true"), service_account="demo/viewer")
    assert text.startswith("Forbidden by the cluster's RBAC")


@pytest.mark.parametrize("subresource", ["attach", "proxy", "log", "status", "nonsense"])
async def test_nothing_else_is_posted(free: Workbench, subresource: str) -> None:
    """Exec and eviction are all there is, whatever else a pod has."""
    text = await free.failure("resource_post", {**command("true"), "subresource": subresource})
    assert "exec, for pods and workloads, and eviction, for pods" in text
    assert free.sent() == []


@pytest.mark.parametrize("resource", ["secrets", "serviceaccounts", "roles"])
async def test_a_restricted_kind_is_an_unknown_one(free: Workbench, resource: str) -> None:
    """Its subresources do not exist either."""
    text = await free.failure("resource_post", {**command("true"), "resource": resource, "subresource": "token"})
    unknown = await free.failure("resource_post", {**command("true"), "resource": "nonsense", "subresource": "token"})
    assert text.split(".")[0] == unknown.split(".")[0].replace("nonsense", resource)


async def test_what_has_no_pods_can_run_nothing(free: Workbench) -> None:
    """The kinds that have pods are named."""
    text = await free.failure("resource_post", {**command("true"), "resource": "configmaps"})
    assert text.startswith("configmaps have no pods of their own. Name a pod, or one of daemonsets, deployments,")


async def test_a_start_that_may_have_happened_is_told_as_such(
    workbench: MakeWorkbench, cluster: EmbeddedCluster
) -> None:
    """Where no answer comes: one request, and the word that the command may run."""
    cluster.seed([pod()])
    bench = await workbench(FREE, LimitOptions(first_byte_seconds=0.3))
    with cluster.fault(Hang("tls"), paths=["*/exec"]) as fault:
        text = await bench.failure("resource_post", command("true"))
    assert "It may have run or be running. Look before you run it again." in text
    assert fault.hits == 1


async def asked(bench: Workbench, arguments: dict[str, Any], given: Mapping[str, str] | None = None) -> Question:
    """Call and return what the person is asked."""
    with pytest.raises(AnswerNeeded) as needed:
        await bench.call("resource_post", arguments, answers=Answers(given or {}, can_ask=True))
    return needed.value.question


async def test_the_person_sees_the_command_and_decides(workbench: MakeWorkbench, cluster: EmbeddedCluster) -> None:
    """The question has the cluster's label, pod, container and the whole command; only yes runs it, and only once."""
    cluster.seed([pod()])
    bench = await workbench(ASKING, label="PROD")
    arguments = {**command("x"), "body": {"command": "echo hi; hostname"}}
    question = await asked(bench, arguments)
    assert question.message == (
        "Cluster east [PROD]: run this in container main of pod demo/web, for 15 s at most?\n\necho hi; hostname"
    )
    for word in ("no", None):
        text = await bench.call("resource_post", arguments, answers=Answers({question.key: word}, can_ask=True))
        assert "nothing run; would be, in container main of pod demo/web:\necho hi; hostname\n" in text
        assert "Nothing was run: the person said no" in text
    assert not execs(bench)
    yes = Answers({question.key: "yes"}, can_ask=True)
    assert result(await bench.call("resource_post", arguments, answers=yes))["status"]["stdout"] == "hi\nweb\n"
    assert "used already" in await bench.failure("resource_post", arguments, answers=yes)
    assert len(execs(bench)) == 1


async def test_a_yes_is_for_this_command_in_this_container(workbench: MakeWorkbench, cluster: EmbeddedCluster) -> None:
    """Another command, or another pod of the same name, has to be asked about again."""
    cluster.seed([pod()])
    bench = await workbench(ASKING)
    yes = {(await asked(bench, command("echo", "hi"))).key: "yes"}
    assert (await asked(bench, command("echo", "ho"), yes)).message.endswith("echo ho")
    cluster.seed([pod(uid="another")])
    assert "It has changed since you were asked." in (await asked(bench, command("echo", "hi"), yes)).message
    assert not execs(bench)


async def test_nobody_to_ask_means_no(workbench: MakeWorkbench, cluster: EmbeddedCluster) -> None:
    """Where the client can't ask, nothing is run, and the answer says how it could be."""
    cluster.seed([pod()])
    bench = await workbench(ASKING)
    text = await bench.call("resource_post", command("echo", "hi"))
    assert "this client can't ask one" in text
    assert not execs(bench)


async def test_nothing_in_a_command_is_hidden_from_the_person(
    workbench: MakeWorkbench, cluster: EmbeddedCluster
) -> None:
    """Control characters and marks that turn text around are shown as what they are."""
    cluster.seed([pod()])
    bench = await workbench(ASKING)
    question = await asked(bench, {**command("x"), "body": {"command": "ls\r\x1b[8m \u202e; rm -rf /"}})
    assert question.message.endswith("ls\\r\\u001b[8m \\u202e; rm -rf /")


async def test_a_plan_is_for_one_command_and_one_run(workbench: MakeWorkbench, cluster: EmbeddedCluster) -> None:
    """The first call shows the command and gives a plan; only the same call with it runs the command, once."""
    cluster.seed([pod()])
    bench = await workbench(PLANNING)
    text = await bench.call("resource_post", command("echo", "hi"))
    assert "nothing run; would be, in container main of pod demo/web:\necho hi\n" in text
    plan = text.rpartition("plan: ")[2]
    other = await bench.failure("resource_post", {**command("echo", "ho"), "plan": plan})
    assert "another request" in other
    assert not execs(bench)
    assert result(await bench.call("resource_post", {**command("echo", "hi"), "plan": plan}))["status"]["exitCode"] == 0
    assert "used already" in await bench.failure("resource_post", {**command("echo", "hi"), "plan": plan})
    assert len(execs(bench)) == 1


BUDGET = """
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: demo}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
"""
OWNED: dict[str, Any] = {
    "labels": {"app": "web"},
    "ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u", "controller": True}
    ],
}


async def test_a_pod_is_evicted(workbench: MakeWorkbench, cluster: EmbeddedCluster) -> None:
    """It is tried first, then done, for just the pod that was found; the answer says what follows."""
    cluster.seed([pod(**OWNED)])
    bench = await workbench(FREE)
    text = await bench.call("resource_post", evict())
    assert text.startswith("cluster east · evicted pod demo/web, uid uid-web")
    assert "ReplicaSet web-1 starts another" in text
    assert [line.partition("?")[2] for line in bench.sent() if "/eviction" in line] == ["dryRun=All", ""]


async def test_a_disruption_budget_s_refusal_is_explained(workbench: MakeWorkbench, cluster: EmbeddedCluster) -> None:
    """The budget is named with its numbers, nobody is asked, and nothing is evicted."""
    cluster.seed([pod(**OWNED)])
    await cluster.apply(BUDGET)
    bench = await workbench(ASKING)
    text = await bench.failure("resource_post", evict(), answers=ASKABLE)
    assert text.startswith("Not evicted: a PodDisruptionBudget allows no disruption of pod demo/web now. ")
    assert "The disruption budget web needs " in text
    assert "Wait until more of its pods are ready" in text
    assert not execs(bench)


async def test_an_eviction_is_asked_about(workbench: MakeWorkbench, cluster: EmbeddedCluster) -> None:
    """The person sees what goes and whether anything starts another."""
    cluster.seed([pod()])
    bench = await workbench(ASKING)
    question = await asked(bench, evict())
    assert "evict pod demo/web?" in question.message
    assert "NOTHING STARTS ANOTHER: no controller" in question.message
    text = await bench.call("resource_post", evict(), answers=Answers({question.key: "no"}, can_ask=True))
    assert "nothing evicted" in text
    assert not execs(bench)
    text = await bench.call("resource_post", evict(), answers=Answers({question.key: "yes"}, can_ask=True))
    assert "evicted pod demo/web" in text


@pytest.mark.parametrize(
    "arguments",
    [evict(dryRun=["All"]), {**evict(), "parameters": {"dryRun": "All"}}, evict(deleteOptions={"dryRun": ["All"]})],
)
async def test_an_eviction_may_be_tried_only(free: Workbench, arguments: dict[str, Any]) -> None:
    """A dry run asks nobody and evicts nothing, wherever it was asked for."""
    assert "nothing evicted: a dry run" in await free.call("resource_post", arguments)
    assert not execs(free)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"metadata": {"name": "other"}}, "names another pod"),
        ({"force": True}, "not force"),
        ({"deleteOptions": "now"}, "are objects"),
        ({"preconditions": "uid"}, "preconditions of an eviction are an object"),
    ],
)
async def test_a_bad_eviction_is_told(free: Workbench, body: dict[str, Any], says: str) -> None:
    """What an eviction does not take is refused, because it was meant to do something."""
    assert says in await free.failure("resource_post", {**evict(), "body": body})
    assert not execs(free)


async def test_another_pod_of_the_same_name_is_not_evicted(free: Workbench) -> None:
    """The caller's own precondition goes before the one that is always sent."""
    text = await free.failure("resource_post", evict(preconditions={"uid": "another"}))
    assert text.startswith("Not evicted: pod demo/web is not the same any more (")
    assert not execs(free)


async def test_a_whole_eviction_is_taken_as_it_is(free: Workbench) -> None:
    """A body as `kubectl create --raw` would send it works, its options included."""
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "web", "namespace": "demo"},
        "deleteOptions": {"gracePeriodSeconds": 0},
    }
    assert "evicted pod demo/web" in await free.call("resource_post", {**evict(), "body": body})


async def test_a_dry_run_that_breaks_evicts_nothing(free: Workbench, cluster: EmbeddedCluster) -> None:
    """A connection that breaks while it is only tried leaves nobody in doubt."""
    with cluster.fault(Reset(after=-1), paths=["*/eviction"]):
        text = await free.failure("resource_post", evict())
    assert "may have been evicted" not in text
    assert not execs(free)


async def test_a_pod_without_a_uid_is_not_evicted(free: Workbench) -> None:
    """It could not be made sure that just this pod goes."""
    found = orjson.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}})
    with free.cluster.fault(Reply(200, found, "application/json"), paths=["*/pods/web"], verbs=["get"]):
        text = await free.failure("resource_post", evict())
    assert text.startswith("Nothing was done: what the API server answers has no name or no uid")
