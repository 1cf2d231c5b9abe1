"""The image and the manifests together, on a real node."""

from pathlib import Path

import httpx2
import pytest

from tests.cluster.node import SOCKET, RealNodeCluster
from tests.container import archive
from tests.container.image import Image
from tests.kubernetes.conftest import kubectl, manifests

__all__ = ["kubectl", "manifests"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
NAMESPACE = "kube-mcp-gateway"


def test_the_manifests_run_the_image(real_node: RealNodeCluster, image: Image, manifests: Path, tmp_path: Path) -> None:
    """A kubelet starts the pod as the manifests have it, finds it ready by its probes, and rolls it out anew."""
    archive.write(image, "docker.io/library/kube-mcp-gateway:0.1.0", tmp_path / "image.tar")
    ctr: list[str | Path] = [real_node.programs["ctr"], f"--address={SOCKET}", "--namespace=k8s.io"]
    real_node.keeper.run([*ctr, "images", "import", tmp_path / "image.tar"])
    within = f"--namespace={NAMESPACE}"
    try:
        real_node.kubectl("create", "namespace", NAMESPACE)
        real_node.kubectl("apply", "--server-side", f"--kustomize={manifests}/overlays/single")
        real_node.kubectl("rollout", "status", "deployment/kube-mcp-gateway", within, "--timeout=120s")
        address = real_node.kubectl("get", "pods", within, "--output=jsonpath={.items[0].status.podIP}")
        assert httpx2.get(f"http://{address}:9464/readyz").text == "ready\n"
        assert httpx2.post(f"http://{address}:8080/mcp").status_code == 401
        user = real_node.kubectl(
            "exec", within, "deployment/kube-mcp-gateway", "--", "python", "-c", "import os; print(os.getuid())"
        )
        assert user == "65532\n"
        real_node.kubectl("rollout", "restart", "deployment/kube-mcp-gateway", within)
        real_node.kubectl("rollout", "status", "deployment/kube-mcp-gateway", within, "--timeout=120s")
        restarts = "--output=jsonpath={.items[*].status.containerStatuses[0].restartCount}"
        assert set(real_node.kubectl("get", "pods", within, restarts).split()) == {"0"}
    finally:
        real_node.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s")
