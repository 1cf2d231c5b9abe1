"""`onboard` as an operator runs it, against real API servers."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.cluster import RealCluster
from tests.operator.kubeconfigs import certificate, kubeconfig, plugin

MANAGED = {"labelSelector": "app.kubernetes.io/managed-by=kube-mcp-gateway"}
RBAC = "/apis/rbac.authorization.k8s.io/v1"
FOLDERS = (
    "/api/v1/namespaces",
    "/api/v1/serviceaccounts",
    f"{RBAC}/clusterroles",
    f"{RBAC}/clusterrolebindings",
    f"{RBAC}/roles",
    f"{RBAC}/rolebindings",
)


def onboard(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `onboard` in this folder with its kubeconfig."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KUBE_MCP_GATEWAY_")}
    environment |= {"KUBECONFIG": str(folder / "config")}
    return subprocess.run(
        [sys.executable, "-c", "from gateway.cli import main; main()", "onboard", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
    )


def made(cluster: RealCluster) -> list[str]:
    """Return what onboarding made on a cluster, without namespaces that are about to go."""
    found = []
    for folder in FOLDERS:
        items = cluster.admin.must("GET", folder, params=MANAGED)["items"]
        found += [
            f"{folder.rpartition('/')[2]} {item['metadata'].get('namespace', '')}/{item['metadata']['name']}"
            for item in items
            if not item["metadata"].get("deletionTimestamp")
        ]
    return found


def settings(folder: Path) -> dict[str, Any]:
    """Read the settings that were written."""
    read: dict[str, Any] = yaml.safe_load((folder / "gateway.yaml").read_text())
    return read


@pytest.mark.slow
async def test_two_clusters_are_onboarded_again_and_taken_back_with_one_command_each(
    real_clusters: tuple[RealCluster, RealCluster], tmp_path: Path
) -> None:
    """From a certificate and a plugin: objects, settings and a call; again nothing changes; --remove leaves none."""
    east, west = real_clusters
    users = {
        "kind-east": (east, certificate(east)),
        "kind-west": (west, plugin(tmp_path, {"token": await west.token("https://kubernetes.default.svc")})),
    }
    kubeconfig(tmp_path / "config", users)
    before = "# ours\naudience: agents\n"
    (tmp_path / "gateway.yaml").write_text(before)
    words = ("--context", "east=kind-east", "--context", "kind-west", "--person", "Ada.Lovelace@example.com")
    try:
        looked = onboard(tmp_path, *words, "--dry-run")
        assert looked.returncode == 0, looked.stderr
        manifests = [one for one in yaml.safe_load_all(looked.stdout[looked.stdout.index("\n# east") :]) if one]
        assert {"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding"} <= {
            one.get("kind") for one in manifests
        }
        assert (made(east), made(west)) == ([], [])
        assert (tmp_path / "gateway.yaml").read_text() == before

        done = onboard(tmp_path, *words, "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "✓ east: cluster east · " in done.stdout
        assert "✓ kind-west: cluster kind-west · " in done.stdout
        assert "serviceaccounts kube-mcp-gateway/agent-ada-lovelace" in made(east)
        assert (tmp_path / "gateway.yaml").read_text().startswith(before)
        first, second = settings(tmp_path)["clusters"]
        assert first == {
            "name": "east",
            "server": east.server,
            "certificateAuthorityData": east.ca_pem.decode(),
            "defaultAudience": "https://kubernetes.default.svc",
        }
        assert second["name"] == "kind-west"

        stands, text = made(east), (tmp_path / "gateway.yaml").read_text()
        again = onboard(tmp_path, *words)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "6 objects as it should be already" in again.stdout
        assert (made(east), (tmp_path / "gateway.yaml").read_text()) == (stands, text)
    finally:
        gone = onboard(tmp_path, *words, "--remove", "--yes")
    assert gone.returncode == 0, gone.stdout + gone.stderr
    assert (made(east), made(west)) == ([], [])
    assert settings(tmp_path)["clusters"] == []


@pytest.mark.slow
async def test_what_stands_in_the_way_is_one_line_and_changes_nothing(
    real_cluster: RealCluster, tmp_path: Path
) -> None:
    """No kubeconfig, a wrong context, missing rights, a typo, a policy that is too narrow, and nobody to ask."""
    viewer = await real_cluster.token("https://kubernetes.default.svc", service_account="demo/viewer")
    contexts = {"admin": (real_cluster, certificate(real_cluster)), "viewer": (real_cluster, {"token": viewer})}
    listed = {"name": "east", "server": real_cluster.server, "certificateAuthority": str(real_cluster.ca_file)}

    def refused(said: str, *words: str, settings: object = None, kubeconfig_there: bool = True) -> None:
        file = tmp_path / "gateway.yaml"
        file.write_text(yaml.safe_dump(settings) if settings else "")
        kubeconfig(tmp_path / "config", contexts)
        if not kubeconfig_there:
            (tmp_path / "config").unlink()
        before = file.read_text()
        ended = onboard(tmp_path, *words)
        assert ended.returncode in (1, 2)
        told = ended.stderr.splitlines()[-1]
        assert said in told, ended.stderr
        assert "Traceback" not in ended.stderr
        assert (file.read_text(), made(real_cluster)) == (before, [])

    refused("No kubeconfig: there is no file", "--context", "admin", "--yes", kubeconfig_there=False)
    refused("has no context 'amdin'. It has: admin, viewer.", "--context", "amdin", "--yes")
    refused("Nothing was changed. context 'viewer':", "--context", "viewer", "--yes")
    refused("did you mean policy?", "--context", "admin", "--yes", settings={"clusters": [{**listed, "polcy": {}}]})
    too_wide = "Role operator is wider than the cluster's policy in the settings, which needs writes: [apply] for it"
    refused(too_wide, "--context", "admin", "--yes", "--role", "operator", settings={"clusters": [listed]})
    refused("The settings list another cluster as 'admin'", "--context", "admin", "--yes",
            settings={"clusters": [{"name": "admin", "server": "https://admin.example"}]})  # fmt: skip
    refused("nobody can be asked here. Say --yes", "--context", "admin")
    refused("Two clusters would be called 'a'", "--context", "a=admin", "--context", "a=viewer", "--yes")
    refused("context 'viewer':", "--context", "admin", "--context", "viewer", "--yes")


@pytest.mark.slow
async def test_what_fails_half_way_is_taken_back(fresh_cluster: RealCluster, tmp_path: Path) -> None:
    """What Kubernetes refuses only when it is really made leaves neither objects nor settings behind."""
    await fresh_cluster.apply("""
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-bindings}
spec:
  matchConstraints:
    resourceRules:
      - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [serviceaccounts]}
  validations:
    - {expression: "request.namespace != 'kube-mcp-gateway'", message: "no accounts there today"}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-bindings}
spec: {policyName: no-bindings, validationActions: [Deny]}
""")
    probe = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "probe"}}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-mcp-gateway"}}
    fresh_cluster.admin.must("POST", "/api/v1/namespaces", namespace)
    path = "/api/v1/namespaces/kube-mcp-gateway/serviceaccounts"
    fresh_cluster.wait(
        "the admission policy is in force",
        lambda: fresh_cluster.admin.request("POST", f"{path}?dryRun=All", probe)[0] == 422,
        watch=("kube-apiserver",),
    )
    fresh_cluster.admin.must("DELETE", "/api/v1/namespaces/kube-mcp-gateway")
    finalize = {**namespace, "spec": {"finalizers": []}}
    fresh_cluster.admin.request("PUT", "/api/v1/namespaces/kube-mcp-gateway/finalize", finalize)
    kubeconfig(tmp_path / "config", {"fresh": (fresh_cluster, certificate(fresh_cluster))})
    ended = onboard(tmp_path, "--context", "fresh", "--yes")
    assert ended.returncode == 1
    told = ended.stderr.splitlines()[-1]
    assert "no accounts there today" in told
    assert "what was made was taken back. Nothing was changed." in told
    assert made(fresh_cluster) == []
    assert not (tmp_path / "gateway.yaml").exists()


@pytest.mark.slow
async def test_a_viewer_reads_and_can_not_read_secrets(fresh_cluster: RealCluster, tmp_path: Path) -> None:
    """The role's own boundary: RBAC refuses Secrets, writing and commands, whether or not the gateway is in between."""
    kubeconfig(tmp_path / "config", {"fresh": (fresh_cluster, certificate(fresh_cluster))})
    (tmp_path / "gateway.yaml").write_text("clusters: []\n")
    done = onboard(tmp_path, "--context", "fresh", "--yes", "--service-account", "demo/reader", "--minter", "ada")
    assert done.returncode == 0, done.stdout + done.stderr
    (entry,) = settings(tmp_path)["clusters"]
    assert entry["defaultAudience"] == "https://kubernetes.default.svc"
    token = await fresh_cluster.token(service_account="demo/reader")

    async def status(method: str, path: str, body: object = None) -> int:
        return (await fresh_cluster.request(method, path, body, token=token))[0]

    assert await status("GET", "/api/v1/pods") == 200
    assert await status("GET", "/apis/apps/v1/deployments") == 200
    assert await status("GET", "/api/v1/nodes") == 200
    assert await status("GET", "/api/v1/secrets") == 403
    assert await status("GET", "/api/v1/serviceaccounts") == 403
    assert await status("GET", f"{RBAC}/clusterroles") == 403
    assert await status("DELETE", "/api/v1/namespaces/demo/pods/any") == 403
    assert await status("POST", "/api/v1/namespaces/demo/pods/any/exec?command=id") == 403
    changed = onboard(tmp_path, "--context", "fresh", "--yes", "--service-account", "demo/reader", "--role", "debugger")
    assert "Role debugger is wider than the cluster's policy" in changed.stderr
    debugs = {"writes": ["post"], "subresources": ["pods/exec"], "kinds": {"deny": ["nodes"]}}
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump({"clusters": [{**entry, "policy": debugs}]}))
    words = ("--context", "fresh", "--yes", "--service-account", "demo/reader")
    changed = onboard(tmp_path, *words, "--role", "debugger")
    assert changed.returncode == 0, changed.stdout + changed.stderr
    assert await status("POST", "/api/v1/namespaces/demo/pods/any/exec?command=id") == 404
    assert await status("GET", "/api/v1/nodes") == 403
    assert [one for one in made(fresh_cluster) if "binding" in one and ":viewer:" in one] == []
    gone = onboard(tmp_path, *words, "--remove")
    assert gone.returncode == 0, gone.stderr
    assert made(fresh_cluster) == []
    assert await status("GET", "/api/v1/pods") in (401, 403)
