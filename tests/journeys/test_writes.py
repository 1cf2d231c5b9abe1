"""An agent changes things on real clusters: seen first, confirmed by a person or a plan, or not written at all."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitResult

from gateway.admin import bind
from gateway.app import create_app
from gateway.cli.serve import serve_app
from gateway.settings import load_settings
from tests.cluster.cluster import RealCluster
from tests.journeys.conftest import GatewayProcess, call, connected, describe, failing, running_gateway

pytestmark = pytest.mark.asyncio

SHOP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME, namespace: demo}
data: {color: COLOR}
"""
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: PLURAL.example.com}
spec:
  group: example.com
  names: {kind: KIND, plural: PLURAL}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {type: object, properties: {size: {type: integer, maximum: 9}}}
---
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, namespace: demo}
spec:
  replicas: 0
  selector: {matchLabels: {app: a}}
  template:
    metadata: {labels: {app: a}}
    spec: {containers: [{name: c, image: none}]}
"""
OTHER_ACCOUNT = """
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
ADMISSION = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: forbidden-names}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]
  validations:
    - {expression: "!object.metadata.name.startsWith('forbidden')", reason: Forbidden, message: no such names}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: forbidden-names}
spec: {policyName: forbidden-names, validationActions: [Deny]}
"""
WRITES: dict[str, Any] = {"writes": ["apply", "delete"]}


def config_map(name: str, color: str = "red") -> str:
    """Return the manifest of a ConfigMap."""
    return SHOP.replace("NAME", name).replace("COLOR", color)


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"w-{uuid.uuid4().hex[:8]}"


def _gateway(
    clusters: tuple[RealCluster, RealCluster], tmp_path_factory: pytest.TempPathFactory, **policy: Any
) -> Iterator[GatewayProcess]:
    described = describe(*clusters, label="PROD", policy=WRITES | policy)
    # These tests write more in a minute than an agent should.
    with running_gateway(tmp_path_factory.mktemp("gateway"), described, rateLimiting=False) as running:
        yield running


@pytest.fixture(scope="module")
def person(
    real_clusters: tuple[RealCluster, RealCluster], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway that asks a person before it writes."""
    yield from _gateway(real_clusters, tmp_path_factory)


@pytest.fixture(scope="module")
def planned(
    real_clusters: tuple[RealCluster, RealCluster], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway that writes on a plan."""
    yield from _gateway(real_clusters, tmp_path_factory, confirmation="plan")


@pytest.fixture(scope="module")
def automation(
    real_clusters: tuple[RealCluster, RealCluster], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway that writes without a word, and with force where that is asked for."""
    yield from _gateway(real_clusters, tmp_path_factory, confirmation="none", force=True)


class Person:
    """Somebody in front of the client, who answers every question alike."""

    def __init__(self, answer: ElicitResult) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def __call__(self, _context: object, params: Any) -> ElicitResult:
        """Answer one question."""
        self.asked.append(params.message)
        return self.answer


YES = ElicitResult(action="accept", content={"answer": "yes"})
REFUSALS = {
    "no": ElicitResult(action="accept", content={"answer": "no"}),
    "declined": ElicitResult(action="decline"),
    "cancelled": ElicitResult(action="cancel"),
}


async def exists(cluster: RealCluster, name: str, path: str = "/api/v1/namespaces/demo/configmaps") -> bool:
    """Whether an object is there."""
    status, _ = await cluster.request("GET", f"{path}/{name}")
    return status == 200


async def color(cluster: RealCluster, name: str) -> str:
    """Return a ConfigMap's colour."""
    _, body = await cluster.request("GET", f"/api/v1/namespaces/demo/configmaps/{name}")
    return str(json.loads(body)["data"]["color"])


async def test_a_person_says_yes(person: GatewayProcess, real_cluster: RealCluster, mode: str, name: str) -> None:
    """The person must see cluster, label and change, be asked once, and then just that is written."""
    somebody = Person(YES)
    async with connected(person.url, await real_cluster.token(), mode, elicitation_callback=somebody) as client:
        text = await call(client, "resource_apply", manifest=f"{config_map(name)}---{config_map(name + '-2')}")
        assert text.splitlines()[0] == f"cluster {real_cluster.name} [PROD] · written: 2 created"
        assert f"created ConfigMap demo/{name}" in text
        text = await call(client, "resource_apply", manifest=f"{config_map(name, 'blue')}---{config_map(name + '-2')}")
        assert text.splitlines()[0] == f"cluster {real_cluster.name} [PROD] · written: 1 changed, 1 unchanged"
        assert "-  color: red\n+  color: blue" in text
        text = await call(client, "resource_apply", manifest=config_map(name, "blue"))
        assert text.splitlines()[0].endswith("· nothing to write: the cluster has all of this already")
    assert await color(real_cluster, name) == "blue"
    first, second = somebody.asked
    assert first.startswith(
        f"Cluster {real_cluster.name} [PROD]: apply this (2 created)?\ncreated ConfigMap demo/{name}\n"
    )
    assert "-  color: red\n+  color: blue" in second
    assert "resourceVersion" not in first + second


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
async def test_a_person_says_no(
    person: GatewayProcess, real_cluster: RealCluster, mode: str, name: str, refusal: ElicitResult
) -> None:
    """No, declined and cancelled must all write nothing, ask no second time, and still show the difference."""
    somebody = Person(refusal)
    async with connected(person.url, await real_cluster.token(), mode, elicitation_callback=somebody) as client:
        text = await call(client, "resource_apply", manifest=config_map(name))
    assert text.splitlines()[0] == f"cluster {real_cluster.name} [PROD] · nothing written; would be 1 created"
    assert "+  color: red" in text
    assert "Nothing was written: the person said no" in text
    assert len(somebody.asked) == 1
    assert not await exists(real_cluster, name)


async def test_a_person_is_silent(person: GatewayProcess, real_cluster: RealCluster, mode: str, name: str) -> None:
    """While nobody has answered nothing is written, nor when the client goes away without an answer."""
    asked = asyncio.Event()

    async def silent(_context: object, _params: object) -> ElicitResult:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with connected(person.url, await real_cluster.token(), mode, elicitation_callback=silent) as client:
        waiting = asyncio.create_task(call(client, "resource_apply", manifest=config_map(name)))
        await asked.wait()
        assert not await exists(real_cluster, name)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert not await exists(real_cluster, name)


async def test_silence_is_no(real_cluster: RealCluster, tmp_path: Path, mode: str, name: str) -> None:
    """A question lapses: whoever answers later has not confirmed anything, in both protocol generations."""
    lapses = 1.0
    file = tmp_path / "gateway.yaml"
    file.write_text(json.dumps({"admin": {"port": 0}, "clusters": describe(real_cluster, policy=WRITES)}))
    settings = load_settings(file, {})
    late = asyncio.Event()
    token = await real_cluster.token()

    async def dozing(_context: object, _params: object) -> ElicitResult:
        await late.wait()
        return YES

    async def visit(url: str) -> None:
        async with connected(url, token, mode, elicitation_callback=dozing) as client:
            if mode == "legacy":
                text = await call(client, "resource_apply", manifest=config_map(name))
                assert "Nothing was written: the person said no or did not answer" in text
                late.set()
                return
            # The client asks by itself, and comes back when the gateway no longer takes the answer.
            asyncio.get_running_loop().call_later(lapses + 1, late.set)
            with pytest.raises(MCPError, match="requestState"):
                await call(client, "resource_apply", manifest=config_map(name))

    sock = bind("127.0.0.1", 0, otherwise="")
    await serve_app(create_app(settings, lapses_after=lapses), settings, sock, visit=visit)
    assert not await exists(real_cluster, name)


async def test_nobody_can_be_asked(person: GatewayProcess, real_cluster: RealCluster, mode: str, name: str) -> None:
    """A client without elicitation must get the difference, nothing written, and what to do about it."""
    async with connected(person.url, await real_cluster.token(), mode) as client:
        text = await call(client, "resource_apply", manifest=config_map(name))
    assert "· nothing written; would be 1 created" in text
    assert "+  color: red" in text
    assert "this client can't ask one" in text
    assert "confirmation: plan" in text
    assert not await exists(real_cluster, name)


async def test_a_dry_run_asks_nobody(person: GatewayProcess, real_cluster: RealCluster, mode: str, name: str) -> None:
    """With dryRun the difference is shown, and that is all."""
    somebody = Person(YES)
    async with connected(person.url, await real_cluster.token(), mode, elicitation_callback=somebody) as client:
        text = await call(client, "resource_apply", manifest=config_map(name), dryRun=True)
    assert text.endswith("Nothing was written: this was a dry run.")
    assert somebody.asked == []
    assert not await exists(real_cluster, name)


async def test_what_changes_while_the_person_thinks_is_asked_again(
    person: GatewayProcess, real_cluster: RealCluster, mode: str, name: str
) -> None:
    """A yes counts for what was shown: where the object has changed meanwhile, the person must see that first."""
    asked: list[str] = []

    async def thinking(_context: object, params: Any) -> ElicitResult:
        asked.append(params.message)
        if len(asked) == 1:
            await real_cluster.apply(config_map(name, "green"))
        return YES

    async with connected(person.url, await real_cluster.token(), mode, elicitation_callback=thinking) as client:
        manifest = f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: demo}}, data: {{a: b}}}}"
        assert "· written: 1 changed" in await call(client, "resource_apply", manifest=manifest)
    assert "1 created" in asked[0]
    assert "It has changed since you were asked." in asked[1]
    assert "1 changed" in asked[1]
    assert len(asked) == 2


def plan_of(text: str) -> str:
    """Return the plan of an answer."""
    return text.rpartition("plan: ")[2]


async def test_a_plan_writes_once(planned: GatewayProcess, real_cluster: RealCluster, mode: str, name: str) -> None:
    """Only a second call with the same manifest and the plan writes; a third with the same plan does not."""
    async with connected(planned.url, await real_cluster.token(), mode) as client:
        text = await call(client, "resource_apply", manifest=config_map(name))
        assert "· nothing written; would be 1 created" in text
        assert len(plan_of(text)) < 400
        assert not await exists(real_cluster, name)
        # The same, however it is written down.
        same = {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {"namespace": "demo", "name": name},
            "data": {"color": "red"},
        }
        assert "· written: 1 created" in await call(client, "resource_apply", manifest=same, plan=plan_of(text))
        await real_cluster.request("DELETE", f"/api/v1/namespaces/demo/configmaps/{name}")
        refusal = await failing(client, "resource_apply", manifest=config_map(name), plan=plan_of(text))
    assert refusal.startswith("This plan was used already.")
    assert not await exists(real_cluster, name)


async def test_a_plan_is_for_one_manifest(
    planned: GatewayProcess, real_cluster: RealCluster, mode: str, name: str
) -> None:
    """With another manifest, namespace or a damaged plan nothing is written."""
    async with connected(planned.url, await real_cluster.token(), mode) as client:
        plan = plan_of(await call(client, "resource_apply", manifest=config_map(name)))
        text = await failing(client, "resource_apply", manifest=config_map(name, "blue"), plan=plan)
        assert text.startswith("This plan is for another request")
        elsewhere = config_map(name).replace("namespace: demo", "namespace: default")
        assert "another request" in await failing(client, "resource_apply", manifest=elsewhere, plan=plan)
        damaged = plan[:-1] + ("A" if plan[-1] != "A" else "B")
        assert "damaged" in await failing(client, "resource_apply", manifest=config_map(name), plan=damaged)
        assert "damaged" in await failing(client, "resource_apply", manifest=config_map(name), plan="yes")
    assert not await exists(real_cluster, name)


async def test_a_plan_is_for_one_principal_on_one_cluster(
    planned: GatewayProcess, real_clusters: tuple[RealCluster, RealCluster], mode: str, name: str
) -> None:
    """Another service account, and the same one's name on another cluster, can't use it."""
    east, west = real_clusters
    await east.apply(OTHER_ACCOUNT)
    async with connected(planned.url, await east.token(), mode) as client:
        plan = plan_of(await call(client, "resource_apply", manifest=config_map(name)))
    others = await east.token(service_account="demo/other"), await west.token()
    for token in others:
        async with connected(planned.url, token, mode) as client:
            text = await failing(client, "resource_apply", manifest=config_map(name), plan=plan)
        assert text.startswith("This plan was given to another caller or on another cluster.")
    assert not await exists(east, name)
    assert not await exists(west, name)


async def test_a_plan_holds_for_what_was_there(
    planned: GatewayProcess, real_cluster: RealCluster, mode: str, name: str
) -> None:
    """Where the object has changed since, the answer must show how it is now, with a new plan that works."""
    extended = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "demo"}}
    manifest = extended | {"data": {"a": "b"}}
    await real_cluster.apply(config_map(name))
    async with connected(planned.url, await real_cluster.token(), mode) as client:
        plan = plan_of(await call(client, "resource_apply", manifest=manifest))
        await real_cluster.apply(config_map(name, "green"))
        text = await call(client, "resource_apply", manifest=manifest, plan=plan)
        assert "The cluster has changed since that plan was made" in text
        assert "· nothing written" in text
        text = await call(client, "resource_apply", manifest=manifest, plan=plan_of(text))
        assert "· written: 1 changed" in text
        assert "@@" not in text
    assert await color(real_cluster, name) == "green"


async def test_a_conflict_names_manager_and_fields(
    automation: GatewayProcess, person: GatewayProcess, real_cluster: RealCluster, mode: str, name: str
) -> None:
    """Another manager's fields are not taken without force, which only some policies allow."""
    await real_cluster.apply(config_map(name))
    somebody = Person(YES)
    token = await real_cluster.token()
    async with connected(person.url, token, mode, elicitation_callback=somebody) as client:
        text = await failing(client, "resource_apply", manifest=config_map(name, "blue"))
        assert 'conflict with "test" (.data.color)' in text
        assert "nothing was written: 1 of 1 documents would fail" in text
        text = await failing(client, "resource_apply", manifest=config_map(name, "blue"), force=True)
        assert "does not allow force" in text
    assert somebody.asked == []
    assert await color(real_cluster, name) == "red"
    async with connected(automation.url, token, mode) as client:
        text = await call(client, "resource_apply", manifest=config_map(name, "blue"), force="true")
    assert "· written: 1 changed" in text
    assert await color(real_cluster, name) == "blue"


async def test_a_kind_and_its_first_object_in_one_call(
    automation: GatewayProcess, real_cluster: RealCluster, mode: str
) -> None:
    """What can't be tried before is said to be so, everything is written in order, and the kind is known at once."""
    kind = f"Box{uuid.uuid4().hex[:8]}"
    plural = kind.lower() + "es"
    box = f"apiVersion: example.com/v1\nkind: {kind}\nmetadata: {{name: one, namespace: demo}}\nspec: {{size: SIZE}}\n"
    definition = CRD.replace("KIND", kind).replace("PLURAL", plural)
    async with connected(automation.url, await real_cluster.token(), mode) as client:
        # The object stands first.
        manifest = f"{box.replace('SIZE', '3')}---{definition}"
        text = await call(client, "resource_apply", manifest=manifest, dryRun=True)
        assert f"created {kind} demo/one (can't be tried before: this manifest brings its kind)" in text
        text = await call(client, "resource_apply", manifest=manifest)
        assert "· written: 2 created" in text
        assert '"size":3' in await call(client, "resource_get", resource=kind, name="one", namespace="demo")
        # Half-way: the definition changes, and then the object does not fit it.
        wider = definition.replace("maximum: 9", "maximum: 99, minimum: 5").replace(
            "storage: true", "storage: true  # a"
        )
        text = await failing(client, "resource_apply", manifest=f"{wider}{box.replace('SIZE', '500')}")
        assert text.splitlines()[0].endswith("· stopped: 1 of 2 written")
        assert f"changed CustomResourceDefinition {plural}.example.com" in text
        assert f"not written: {kind} demo/one: " in text
        assert "spec.size" in text
    await real_cluster.request(
        "DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.example.com"
    )


async def test_a_namespace_and_its_objects_in_one_call(
    automation: GatewayProcess, real_cluster: RealCluster, mode: str, name: str
) -> None:
    """Objects of a namespace that the manifest brings are written after it, a pod waits for its service account."""
    documents = [
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: none}]}\n",
        config_map("a").replace("demo", name),
        f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n",
    ]
    async with connected(automation.url, await real_cluster.token(), mode) as client:
        text = await call(client, "resource_apply", manifest="---\n".join(documents), namespace=name)
    assert "· written: 3 created" in text
    lines = [line for line in text.splitlines() if line.startswith("created")]
    assert lines == [f"created Namespace {name}", f"created Pod {name}/p", f"created ConfigMap {name}/a"]


async def test_no_restricted_kind_is_applied(automation: GatewayProcess, real_cluster: RealCluster, mode: str) -> None:
    """A Secret among ten documents or in a List writes nothing, in the words of a kind that nobody ever heard of."""
    names = [f"w-{uuid.uuid4().hex[:8]}" for _ in range(9)]
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: demo}\nstringData: {a: b}\n"
    ten = "---".join([*(config_map(each) for each in names), "\n" + secret])
    items = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names[0], "namespace": "demo"}}]
    listed = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [*items, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}],
    }
    typed = {"apiVersion": "v1", "kind": "SecretList", "items": [{"metadata": {"name": "s"}}]}
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "s", "namespace": "demo"},
    }
    async with connected(automation.url, await real_cluster.token(), mode) as client:
        text = await failing(client, "resource_apply", manifest=ten)
        assert text.startswith(f"Cluster {real_cluster.name} [PROD] serves no 'v1/Secret' (document 10")
        assert text == (await failing(client, "resource_apply", manifest=ten.replace("Secret", "Sesame"))).replace(
            "Sesame", "Secret"
        )
        for manifest in (listed, typed, role, {**role, "kind": "ServiceAccount", "apiVersion": "v1"}):
            assert "serves no " in await failing(client, "resource_apply", manifest=manifest)
    assert not any([await exists(real_cluster, each) for each in names])


async def test_what_does_not_fit_is_said_before_anything_is_written(
    automation: GatewayProcess, real_cluster: RealCluster, mode: str, name: str
) -> None:
    """Unknown fields, wrong types, immutable fields, admission and missing namespaces must each be told apart."""
    await real_cluster.apply(DEPLOYMENT.replace("NAME", name))
    other = f"o-{name}"
    bad = {
        "does not fit its kind: .dta: field not declared in schema": config_map(other).replace("\ndata", "\ndta"),
        "does not fit its kind: .data.color": config_map(other, "[1]"),
        "field is immutable": DEPLOYMENT.replace("NAME", name).replace("app: a", "app: b"),
        "admission refuses it": config_map("forbidden-" + name),
        'namespaces "nowhere" not found': config_map(other).replace("namespace: demo", "namespace: nowhere"),
    }
    await real_cluster.apply(ADMISSION)
    what, watch = "the admission policy is in force", ("kube-apiserver",)
    await asyncio.to_thread(real_cluster.wait, what, lambda: _refused(real_cluster), watch)
    async with connected(automation.url, await real_cluster.token(), mode) as client:
        for words, manifest in bad.items():
            good_first = f"{config_map(other + '-0')}---{manifest}"
            text = await failing(client, "resource_apply", manifest=good_first, force=True)
            assert words in text
            assert "nothing was written: 1 of 2 documents would fail" in text
        assert not await exists(real_cluster, other + "-0")


async def test_a_flood_is_refused(automation: GatewayProcess, real_cluster: RealCluster, mode: str, name: str) -> None:
    """A manifest just below the body limit is refused in words, above it with 413, and nothing is written."""
    token = await real_cluster.token()
    async with connected(automation.url, token, mode) as client:
        text = await failing(client, "resource_apply", manifest=config_map(name, "x" * 4_080_000))
        assert "The manifest is too large" in text
        many = "---".join(config_map(f"{name}-{number}") for number in range(1000))
        assert "more than 100 documents" in await failing(client, "resource_apply", manifest=many)
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
    }
    async with httpx2.AsyncClient() as http:
        answer = await http.post(automation.url, content=b" " * (4 * 1024 * 1024 + 1), headers=headers)
    assert answer.status_code == 413
    assert not await exists(real_cluster, f"{name}-0")


async def test_deleting_is_confirmed_for_one_object(
    person: GatewayProcess, automation: GatewayProcess, real_cluster: RealCluster, mode: str, name: str
) -> None:
    """Only the object that was shown is deleted: not one that took its name, and never without a word."""
    await real_cluster.apply(config_map(name))
    target = {"resource": "cm", "name": name, "namespace": "demo"}
    somebody = Person(YES)
    token = await real_cluster.token()
    async with connected(automation.url, token, mode) as client:
        text = await call(client, "resource_delete", **target)
        assert f"· nothing deleted; would be ConfigMap demo/{name}" in text
        await real_cluster.request("DELETE", f"/api/v1/namespaces/demo/configmaps/{name}")
        await real_cluster.apply(config_map(name, "another"))
        text = await call(client, "resource_delete", **target, plan=plan_of(text))
        assert "has changed since that plan was made" in text
        assert await exists(real_cluster, name)
    async with connected(person.url, token, mode) as client:
        assert "· nothing deleted" in await call(client, "resource_delete", **target)
    async with connected(person.url, token, mode, elicitation_callback=somebody) as client:
        assert f"· deleted: ConfigMap demo/{name}, uid " in await call(client, "resource_delete", **target)
        assert "not found" in await failing(client, "resource_delete", **target)
    assert somebody.asked[0].startswith(f"Cluster {real_cluster.name} [PROD]: delete ConfigMap demo/{name}, created ")
    assert not await exists(real_cluster, name)


async def test_tools_say_what_they_may_do(
    gateway: GatewayProcess, person: GatewayProcess, real_cluster: RealCluster, mode: str
) -> None:
    """Writing tools are offered where the policy has them, with true hints."""
    token = await real_cluster.token()
    async with connected(gateway.url, token, mode) as client:
        assert not {"resource_apply", "resource_delete"} & {tool.name for tool in (await client.list_tools()).tools}
    async with connected(person.url, token, mode) as client:
        tools = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
    for name in ("resource_apply", "resource_delete"):
        hints = tools[name]
        assert hints is not None
        assert (hints.read_only_hint, hints.destructive_hint) == (False, True)


def _refused(cluster: RealCluster) -> bool:
    """Whether the admission policy is in force."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "forbidden-probe"}}
    path = "/api/v1/namespaces/demo/configmaps"
    return cluster.admin.request("POST", path, body, params={"dryRun": "All"})[0] == 403
