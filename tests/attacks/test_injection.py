"""Every text argument of every tool is given what would lead elsewhere, were any of it read as more than text."""

from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from pydantic import ValidationError

from gateway.errors import GatewayError
from gateway.kube.paths import attributes_of
from gateway.policy.options import PolicyOptions
from tests.workbench import MakeWorkbench, Workbench

CANARY = "canary-in-the-vault"
VAULT = f"""
apiVersion: v1
kind: Secret
metadata: {{name: vault, namespace: demo}}
stringData: {{key: {CANARY}}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: other}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: hidden, namespace: other}}
data: {{key: {CANARY}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: shown, namespace: demo}}
data: {{key: x}}
"""
ELSEWHERE = (
    "../secrets/vault",
    "..%2Fsecrets%2Fvault",
    "%2e%2e/secrets/vault",
    "shown/../../../other/configmaps/hidden",
    "shown%2F..%2F..%2Fsecrets%2Fvault",
    "..;/secrets/vault",
    "..\\secrets\\vault",
    "shown?watch=true",
    "shown#",
    "shown%3FdryRun=All",
    "shown%00",
    "shown\0",
    "shown\r\nImpersonate-User: system:admin",
    "shown HTTP/1.1\r\nHost: x\r\n\r\nGET /api/v1/secrets",
    "secrets",
    "secret/vault",
    "v1/secrets",
    "secrets.v1.",
    "Secret",
    "secrets/vault",
    "configmaps/../secrets",
    "watch/secrets",
    "proxy/nodes",
    "serviceaccounts/default/token",
    "pods/web/proxy",
    "clusterroles.rbac.authorization.k8s.io",
    "other",
    "demo/../other",
    "demo,other",
    "*",
    "",
    " ",
    "\u2024\u2024/secrets",
    "\uff0e\uff0e\uff0fsecrets",
    "app=x&limit=0",
    "app=x&namespace=other",
    "app=x,metadata.namespace=other",
    "metadata.name=vault,metadata.namespace!=demo",
    "spec.nodeName=a&resourceVersion=0&watch=1",
    "a" * 300,
    "\ud800",
    "k8s://namespaced/demo/core/v1/secrets/vault",
    "https://evil.example/api/v1/secrets",
    "{{.metadata}}",
    "$(cat /var/run/secrets/kubernetes.io/serviceaccount/token)",
)
BASE: dict[str, dict[str, Any]] = {
    "resource_types": {"query": "configmaps", "group": "apps"},
    "resource_list": {"resource": "configmaps", "namespace": "demo", "labelSelector": "a=b", "fieldSelector": "",
                      "continue": ""},
    "resource_get": {"resource": "configmaps", "name": "shown", "namespace": "demo", "subresource": ""},
    "resource_wait": {"resource": "configmaps", "name": "shown", "namespace": "demo", "condition": "exists",
                      "labelSelector": ""},
    "resource_delete": {"resource": "configmaps", "name": "shown", "namespace": "demo", "plan": ""},
    "resource_post": {"resource": "pods", "name": "web", "namespace": "demo", "subresource": "eviction", "plan": ""},
    "diagnose": {"resource": "configmaps", "name": "shown", "namespace": "demo"},
}  # fmt: skip
KNOWN = {
    "labelSelector", "fieldSelector", "limit", "continue", "includeObject", "resourceVersion", "resourceVersionMatch",
    "watch", "allowWatchBookmarks", "timeoutSeconds", "dryRun", "fieldManager", "fieldValidation", "force",
    "propagationPolicy", "pretty",
}  # fmt: skip
NAMESPACELESS = {"namespaces", "nodes", "customresourcedefinitions"}


def judge(line: str) -> None:
    """Hold one request that went out to what may go out here."""
    method, _, target = line.partition(" ")
    path, _, query = target.partition("?")
    assert unquote(path) == path or "%2f" not in path.lower(), line
    read = attributes_of("get", unquote(path))
    assert read.resource not in {"secrets", "serviceaccounts"}, line
    assert read.group != "rbac.authorization.k8s.io", line
    assert read.subresource not in {"proxy", "token", "exec", "attach", "portforward", "ephemeralcontainers"}, line
    assert read.namespace in {"demo", ""}, line
    assert read.namespace or read.resource in NAMESPACELESS, line
    parameters = parse_qsl(query, keep_blank_values=True)
    assert len({name for name, _ in parameters}) == len(parameters), line
    assert {name for name, _ in parameters} <= KNOWN, line
    assert method == "GET" or ("dryRun", "All") in parameters, line


@pytest.fixture
async def guarded(workbench: MakeWorkbench) -> Workbench:
    """Give a cluster with something to steal, of which callers may see one namespace, and write by plan alone."""
    bench = await workbench(
        PolicyOptions.model_validate(
            {
                "writes": ["apply", "post", "delete"],
                "subresources": ["pods/exec", "pods/eviction"],
                "confirmation": "plan",
                "namespaces": {"allow": ["demo"]},
            }
        )
    )
    await bench.cluster.apply(VAULT)
    await bench.call("resource_types", {})
    return bench


@pytest.mark.parametrize("tool", BASE)
async def test_no_argument_is_more_than_text(guarded: Workbench, tool: str) -> None:
    """Whatever it says, it reaches no other kind, namespace, subresource or parameter, and no answer has the secret."""
    before = len(guarded.sent())
    for argument in BASE[tool]:
        for text in ELSEWHERE:
            arguments = {**BASE[tool], argument: text} | ({"timeout": 0.05} if tool == "resource_wait" else {})
            arguments = {name: value for name, value in arguments.items() if value != "" or name == argument}
            try:
                answer = await guarded.call(tool, arguments)
            except GatewayError as error:
                answer = error.message
            except ValidationError as error:
                answer = str(error)
            assert CANARY not in answer, (argument, text)
    for line in guarded.sent()[before:]:
        judge(line)


@pytest.mark.parametrize("place", ["apiVersion", "kind", "name", "namespace", "fieldManager", "generateName"])
async def test_no_manifest_leads_elsewhere(guarded: Workbench, place: str) -> None:
    """Nor does what stands in a manifest where a path is made of it; and nothing is written without its plan."""
    before = len(guarded.sent())
    for text in ELSEWHERE:
        manifest: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}}
        metadata: dict[str, Any] = {"name": "shown", "namespace": "demo"}
        if place in {"apiVersion", "kind"}:
            manifest[place] = text
        else:
            metadata[place] = text
        try:
            answer = await guarded.call("resource_apply", {"manifest": {**manifest, "metadata": metadata}})
        except (GatewayError, ValidationError) as error:
            answer = str(error)
        assert CANARY not in answer, text
    for line in guarded.sent()[before:]:
        judge(line)
