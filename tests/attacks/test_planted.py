from base64 import b64encode
from typing import Any

import orjson
import pytest

from gateway.access.questions import AnswerNeeded, Answers
from gateway.clusters.options import LimitOptions
from gateway.errors import BadArgument, GatewayError
from gateway.policy.options import PolicyOptions
from gateway.tools.resources import read
from gateway.tools.tool import Tool
from tests.redaction.credentials import CREDENTIALS, leaked
from tests.workbench import MakeWorkbench, Workbench

WRITING = PolicyOptions(writes=frozenset({"apply"}), confirmation="plan")
LARGE = LimitOptions(answer_bytes=1024 * 1024)
VALUES = dict(enumerate(CREDENTIALS.values()))
OUTPUTS = ("object", "yaml", "json")


def _everywhere() -> list[dict[str, Any]]:
    """Return objects that carry every kind of credential in every place an object has for text."""
    texts = {f"text-{number}": value for number, value in VALUES.items()}
    listed = [f"it said: {value}" for value in VALUES.values()]
    container = {
        "name": "web",
        "image": "web:1",
        "env": [{"name": f"V{number}", "value": value} for number, value in VALUES.items()],
        "args": [*VALUES.values(), "--db-password", "k9f2m4x7q1z8w5"],
        "command": ["sh", "-c", *VALUES.values()],
    }
    states = [
        {
            "name": "web",
            "ready": False,
            "restartCount": 1,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "\n".join(listed)}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": listed[0]}},
        }
    ]
    conditions = [
        {"type": f"C{number}", "status": "False", "reason": "No", "message": text} for number, text in enumerate(listed)
    ]
    meta = {"namespace": "demo", "annotations": {f"example.com/{key}": value for key, value in texts.items()}}
    objects: list[dict[str, Any]] = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {**meta, "name": "planted"},
            "data": {**texts, "db.password": "k9f2m4x7q1z8w5"},
            "binaryData": {key: b64encode(value.encode()).decode() for key, value in texts.items()},
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**meta, "name": "planted", "labels": {"github": CREDENTIALS["github token"]}},
            "spec": {"containers": [container], "nodeName": "node1"},
            "status": {"phase": "Running", "conditions": conditions, "containerStatuses": states},
        },
    ]
    objects += [
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": "demo", "name": f"planted.{number}"},
            "involvedObject": {"kind": "Pod", "namespace": "demo", "name": "planted"},
            "type": "Warning",
            "reason": "BackOff",
            "message": text,
            "lastTimestamp": "2026-01-01T00:00:00Z",
        }
        for number, text in enumerate(listed)
    ]
    return objects


@pytest.fixture
async def planted(workbench: MakeWorkbench) -> Workbench:
    """Give a workbench whose cluster carries credentials everywhere, in a log as well."""
    bench = await workbench(WRITING, LARGE)
    bench.cluster.seed(_everywhere())
    for previous in (False, True):
        bench.cluster.logs.write("demo", "planted", "web", "\n".join(CREDENTIALS.values()), previous=previous)
    return bench


def _calls() -> list[tuple[str, dict[str, Any]]]:
    calls: list[tuple[str, dict[str, Any]]] = []
    for resource in ("configmaps", "pods"):
        named = {"resource": resource, "name": "planted", "namespace": "demo"}
        calls += [("resource_get", {**named, "output": out, "includeAnnotations": True}) for out in OUTPUTS]
        calls += [("resource_get", {**named, "parameters": {"limitBytes": size}}) for size in (700, 2000, 9000)]
    for resource in ("configmaps", "pods", "events"):
        where = {"resource": resource, "namespace": "demo", "includeAnnotations": True}
        calls += [("resource_list", {**where, "output": out}) for out in ("table", "yaml", "json", "name")]
    log = {"resource": "pods", "name": "planted", "namespace": "demo", "subresource": "logs"}
    for parameters in ({}, {"previous": True}, {"limitBytes": 300}, {"grep": "a|e|i|o|u"}, {"container": "*"}):
        calls.append(("resource_get", {**log, "parameters": {"tailLines": 1000, **parameters}}))
    calls.append(
        ("resource_get", {"resource": "pods", "name": "planted", "namespace": "demo", "subresource": "status"})
    )
    for detail in (False, True):
        for output in ("text", "json"):
            calls.append(
                ("diagnose", {"resource": "pod/planted", "namespace": "demo", "detail": detail, "output": output})
            )
    calls += [("diagnose", {"namespace": "demo", "detail": True}), ("diagnose", {"detail": True})]
    wait = {"resource": "pods", "name": "planted", "namespace": "demo", "condition": "C0", "timeout": 0.2}
    calls.append(("resource_wait", wait))
    return calls


@pytest.mark.parametrize(("tool", "arguments"), _calls(), ids=str)
async def test_no_credential_is_read_with_any_tool(planted: Workbench, tool: str, arguments: dict[str, Any]) -> None:
    """Thirty kinds of credentials in every place an object can carry them, read in every form: none comes out."""
    text = await planted.call(tool, arguments)
    assert not leaked(text)
    assert "planted" in text
    if arguments.get("output") == "json":
        orjson.loads(text)


async def test_no_credential_is_read_as_a_resource(planted: Workbench) -> None:
    """MCP's resources are masked as the tools' answers are."""
    async with planted.session() as session:
        for resource in ("configmaps", "pods"):
            text = await read(session, f"k8s://namespaced/demo/core/v1/{resource}/planted")
            assert not leaked(text)
            assert "[redacted: " in text


async def test_no_credential_comes_out_of_a_command(workbench: MakeWorkbench) -> None:
    """A container's environment is where credentials are, and `env` is what an agent runs first."""
    posting = PolicyOptions(writes=frozenset({"post"}), subresources=frozenset({"pods/exec"}), confirmation="none")
    bench = await workbench(posting, LARGE)
    where = {"name": "shell", "namespace": "demo"}
    environment = [{"name": f"V{number}", "value": value} for number, value in VALUES.items()]
    started = {"name": "main", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    bench.cluster.seed(
        [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": where,
                "spec": {"nodeName": "node1", "containers": [{"name": "main", "image": "busybox", "env": environment}]},
                "status": {"phase": "Running", "containerStatuses": [started]},
            }
        ]
    )
    for command in (["env"], ["sh", "-c", "env; env >&2"]):
        body = {"command": command}
        text = await bench.call("resource_post", {"resource": "pods", **where, "subresource": "exec", "body": body})
        assert not leaked(text)
        assert "V1=[redacted: " in text


async def test_what_an_api_server_says_is_masked(planted: Workbench) -> None:
    """An admission webhook or a database behind an aggregated API may put anything into a failure."""
    for number, value in VALUES.items():

        async def run(_session: Any, _arguments: Any, *, value: str = value) -> str:
            raise GatewayError(f"it failed at {value}")

        base = planted.tools["resource_types"]
        tool: Tool[Any] = Tool(f"t{number}", "", "", base.arguments, run)
        assert not leaked(await planted.failure(tool, {}))


async def test_an_answer_says_how_many_values_are_masked(planted: Workbench) -> None:
    """Once, in the first line, or in a field where all is JSON; and they are counted."""
    planted.cluster.seed(
        [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "two", "namespace": "demo"},
                "data": {"password": "a1b2c3", "url": "redis://:a1b2c3@cache"},
            }
        ]
    )
    named = {"resource": "cm", "name": "two", "namespace": "demo"}
    text = await planted.call("resource_get", named)
    assert text.split("\n")[0] == "cluster east · configmaps/two in namespace demo · 2 values redacted"
    assert orjson.loads(await planted.call("resource_get", {**named, "output": "json"}))["redacted"] == 2
    assert planted.metrics.registry.get_sample_value("kube_mcp_gateway_redactions_total", {"cluster": "east"}) == 4


async def test_searching_a_log_does_not_tell_what_is_masked(planted: Workbench) -> None:
    """What matches is the log as it is shown: else a password could be guessed letter by letter."""
    log = {"resource": "pods", "name": "planted", "namespace": "demo", "subresource": "logs"}
    text = await planted.call("resource_get", {**log, "parameters": {"grep": "Tr0ub4dor"}})
    assert "none of the last" in text


async def test_the_cluster_s_operator_may_switch_it_off(workbench: MakeWorkbench) -> None:
    """Then everything is read as it is, and nothing is counted."""
    bench = await workbench(redaction=False)
    bench.cluster.seed(_everywhere())
    text = await bench.call("resource_get", {"resource": "pods", "name": "planted", "namespace": "demo"})
    assert leaked(text)
    assert "redacted" not in text


MANIFEST: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "shop", "namespace": "demo"},
    "data": {"db.password": "k9f2m4x7q1z8w5", "colour": "blue"},
}


async def _written(bench: Workbench) -> None:
    """Have the manifest on the cluster, as this gateway would have applied it."""
    path = "/api/v1/namespaces/demo/configmaps/shop?fieldManager=kube-mcp-gateway"
    status, _ = await bench.cluster.request("PATCH", path, MANIFEST, content_type="application/apply-patch+yaml")
    assert status == 201


async def test_a_change_of_a_credential_is_seen_without_it(planted: Workbench) -> None:
    """Both sides are masked, and differ; what stays the same is the same; what is written is the real value."""
    await _written(planted)
    changed = {**MANIFEST, "data": {**MANIFEST["data"], "db.password": "Tr0ub4dor3x"}}
    shown = await planted.call("resource_apply", {"manifest": changed})
    assert not leaked(shown)
    lines = [line.strip() for line in shown.split("\n") if line.startswith(("-", "+"))]
    assert lines == ['-  db.password: "[redacted: secret #1]"', '+  db.password: "[redacted: secret #2]"']
    plan = shown.rpartition("plan: ")[2]
    assert "1 changed" in await planted.call("resource_apply", {"manifest": changed, "plan": plan})
    _, body = await planted.cluster.request("GET", "/api/v1/namespaces/demo/configmaps/shop")
    assert orjson.loads(body)["data"]["db.password"] == "Tr0ub4dor3x"


async def test_a_plan_is_for_the_real_values(planted: Workbench) -> None:
    """A plan that was shown for one password does not write another, though both look alike."""
    changed = {**MANIFEST, "data": {"db.password": "Tr0ub4dor3x"}}
    plan = (await planted.call("resource_apply", {"manifest": changed})).rpartition("plan: ")[2]
    other = {**MANIFEST, "data": {"db.password": "Tr0ub4dor3y"}}
    with pytest.raises(BadArgument):
        await planted.call("resource_apply", {"manifest": other, "plan": plan})


async def test_no_mask_is_written_back(planted: Workbench) -> None:
    """What was read masked can't be applied: it would replace the credential by its mask."""
    await _written(planted)
    for output in ("object", "yaml"):
        text = await planted.call(
            "resource_get", {"resource": "cm", "name": "shop", "namespace": "demo", "output": output}
        )
        with pytest.raises(BadArgument, match="was cut or masked"):
            await planted.call("resource_apply", {"manifest": text.partition("\n")[2]})
    numbered = {**MANIFEST, "data": {"url": "redis://:[redacted: url-password #2]@cache"}}
    with pytest.raises(BadArgument, match="was cut or masked"):
        await planted.call("resource_apply", {"manifest": numbered})


async def test_a_person_is_asked_without_the_credential(workbench: MakeWorkbench) -> None:
    """The question passes through the client, where an agent may read it."""
    bench = await workbench(PolicyOptions(writes=frozenset({"apply"})))
    await _written(bench)
    changed = {**MANIFEST, "data": {**MANIFEST["data"], "db.password": "Tr0ub4dor3x"}}
    with pytest.raises(AnswerNeeded) as caught:
        await bench.call("resource_apply", {"manifest": changed}, answers=Answers({}, can_ask=True))
    message = caught.value.question.message
    assert "[redacted: secret #2]" in message
    assert not leaked(message)
