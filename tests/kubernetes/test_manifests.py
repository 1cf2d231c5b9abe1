"""Every manifest is one that a real API server takes, and says what the documents say it does."""

from base64 import b64decode
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.settings import Settings, load_settings
from tests import alerts
from tests.cluster.pki import new_authority
from tests.kubernetes.conftest import Kubectl

OVERLAYS = ("single", "replicas", "ingress")
WHOLE = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: kube-mcp-gateway
resources: [../OVERLAY]
components: [../../components/valkey, ../../components/monitoring]
"""


def whole(manifests: Path, overlay: str) -> Path:
    """Return an overlay of one's own, with all the components, as the documents show it."""
    folder = manifests / "overlays" / "own"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(WHOLE.replace("OVERLAY", overlay))
    return folder


def of(documents: Iterable[dict[str, Any]], kind: str, name: str = "kube-mcp-gateway") -> dict[str, Any]:
    """Return the one object of this kind and name; generated names have a hash behind."""
    return next(d for d in documents if d["kind"] == kind and d["metadata"]["name"].startswith(name))


def rendered(kubectl: Kubectl, folder: Path) -> list[dict[str, Any]]:
    """Return what kustomize makes of a folder."""
    return list(yaml.safe_load_all(kubectl("kustomize", str(folder))))


def settings(documents: list[dict[str, Any]], folder: Path) -> Settings:
    """Load the settings that a pod would find."""
    (folder / "here").mkdir(parents=True)
    (folder / "here" / "ca.crt").write_bytes(new_authority("cluster").pem)
    (folder / "sealing").mkdir()
    for document in documents:
        if document["kind"] == "Secret":
            (folder / "sealing" / "sealing-keys").write_bytes(b64decode(document["data"]["sealing-keys"]))
    file = folder / "gateway.yaml"
    file.write_text(of(documents, "ConfigMap")["data"]["gateway.yaml"].replace("/etc/kube-mcp-gateway", str(folder)))
    return load_settings(file)


@pytest.mark.slow
def test_a_real_api_server_takes_all_of_it(cluster_with_kinds: Kubectl, manifests: Path) -> None:
    """Each overlay, alone and with every component, passes strict validation on the server without a warning."""
    apply = ("apply", "--server-side", "--validate=strict")
    cluster_with_kinds("create", "namespace", "kube-mcp-gateway")
    whole(manifests, "ingress")
    for overlay in (*OVERLAYS, "own"):
        taken = cluster_with_kinds(
            *apply, "--dry-run=server", "--force-conflicts", f"--kustomize={manifests}/overlays/{overlay}"
        )
        assert "(server dry run)" in taken
    taken = cluster_with_kinds(*apply, "--force-conflicts", f"--kustomize={manifests}/overlays/own")
    for kind in ("podmonitor", "prometheusrule", "horizontalpodautoscaler", "poddisruptionbudget", "ingress", "secret"):
        assert any(line.startswith(kind) for line in taken.splitlines())


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_settings_in_a_pod_load(kubectl: Kubectl, manifests: Path, tmp_path: Path, overlay: str) -> None:
    """The ConfigMap holds settings that start, that drain before they end, and end before the pod is killed."""
    documents = rendered(kubectl, manifests / "overlays" / overlay)
    loaded = settings(documents, tmp_path / "etc")
    pod = of(documents, "Deployment")["spec"]["template"]["spec"]
    assert loaded.listen.drain_delay_seconds >= 5
    closing = 10
    assert (
        loaded.listen.drain_delay_seconds + loaded.listen.drain_seconds + closing < pod["terminationGracePeriodSeconds"]
    )
    ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
    assert ports == {"mcp": loaded.listen.port, "admin": loaded.admin.port}
    assert (loaded.sealing_keys is not None) == (overlay != "single")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_has_no_rights_that_it_does_not_need(kubectl: Kubectl, manifests: Path, overlay: str) -> None:
    """No token, no root, nothing writable, no capability, not even with the components."""
    for document in rendered(kubectl, whole(manifests, overlay)):
        if document["kind"] != "Deployment":
            continue
        pod = document["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] > 0
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"]
            assert not security["allowPrivilegeEscalation"]
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]


def test_what_selects_pods_selects_these(kubectl: Kubectl, manifests: Path) -> None:
    """Service, budget, policy, monitor and autoscaler all mean the pods of the Deployment, and DNS stays DNS."""
    documents = rendered(kubectl, whole(manifests, "ingress"))
    labels = of(documents, "Deployment")["spec"]["template"]["metadata"]["labels"]
    chosen = [
        of(documents, "Deployment")["spec"]["selector"]["matchLabels"],
        of(documents, "Service")["spec"]["selector"],
        of(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        of(documents, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        of(documents, "PodMonitor")["spec"]["selector"]["matchLabels"],
    ]
    for selector in chosen:
        assert selector
        assert selector.items() <= labels.items()
    valkey = of(documents, "Deployment", "kube-mcp-gateway-valkey")["spec"]["template"]["metadata"]["labels"]
    assert not chosen[0].items() <= valkey.items()
    dns = of(documents, "NetworkPolicy")["spec"]["egress"][0]["to"][0]["podSelector"]["matchLabels"]
    assert dns == {"k8s-app": "kube-dns"}
    (endpoint,) = of(documents, "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in {
        p["name"] for p in of(documents, "Deployment")["spec"]["template"]["spec"]["containers"][0]["ports"]
    }


def test_without_sealing_keys_nothing_is_made(kubectl: Kubectl, manifests: Path) -> None:
    """Replicas that share no key would refuse each other's plans; so kustomize stops, and names the file."""
    (manifests / "overlays/replicas/sealing-keys").unlink()
    with pytest.raises(AssertionError, match="sealing-keys"):
        kubectl("kustomize", str(manifests / "overlays/replicas"))


def test_the_operators_rules_are_the_plain_ones() -> None:
    """Whoever changes an alert must run `make docs`."""
    assert alerts.MANIFEST.read_text(encoding="utf-8") == alerts.manifest(), "run `make docs`"
    assert yaml.safe_load(alerts.manifest())["spec"] == yaml.safe_load(alerts.RULES.read_text(encoding="utf-8"))
