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
