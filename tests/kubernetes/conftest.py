"""The manifests as somebody applies them: kubectl, an API server of one's own, and the kinds of the operators."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster import programs
from tests.cluster.cluster import RealCluster
from tests.cluster.plugin import unavailable

MANIFESTS = Path(__file__).parents[2] / "config/kubernetes"
OPERATOR = "github.com/prometheus-operator/prometheus-operator"
OPERATOR_VERSION = "v0.85.0"
OPERATOR_SUM = "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s="
KINDS = ("podmonitors", "prometheusrules")


@dataclass(frozen=True, slots=True)
class Kubectl:
    """The kubectl that belongs to the test clusters; what it warns of is an error."""

    program: Path
    kubeconfig: Path | None = None

    def __call__(self, *arguments: str) -> str:
        """Run it, and return what it wrote; an assertion error shows what went wrong."""
        where = [f"--kubeconfig={self.kubeconfig}", "--warnings-as-errors"] if self.kubeconfig else []
        command = [str(self.program), *where, *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """Give kubectl without a cluster."""
    try:
        return Kubectl(programs.find("kubectl")["kubectl"])
    except programs.ProgramsMissingError as error:
        unavailable(str(error))


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """Give a copy of config/kubernetes, with the one file that an operator has to make."""
    copy = tmp_path / "kubernetes"
    shutil.copytree(MANIFESTS, copy)
    keys = subprocess.run(["openssl", "rand", "-base64", "32"], capture_output=True, check=True).stdout
    (copy / "overlays/replicas/sealing-keys").write_bytes(keys)
    return copy


@pytest.fixture
def cluster_with_kinds(fresh_cluster: RealCluster, kubectl: Kubectl) -> Kubectl:
    """Give kubectl at an empty cluster that knows prometheus-operator's kinds."""
    at = Kubectl(kubectl.program, fresh_cluster.kubeconfig)
    for kind in KINDS:
        file = _operator() / f"example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml"
        at("apply", "--server-side", f"--filename={file}")
    at("wait", "--for=condition=Established", *(f"crd/{kind}.monitoring.coreos.com" for kind in KINDS))
    return at


def _operator() -> Path:
    """Return prometheus-operator's module, fetched once by Go, of just the sum that is known."""
    go = shutil.which("go")
    if go is None:
        unavailable("prometheus-operator's kinds come as a Go module, and there is no `go`")
    command = [go, "mod", "download", "-json", f"{OPERATOR}@{OPERATOR_VERSION}"]
    module = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=110).stdout)
    assert module["Sum"] == OPERATOR_SUM
    return Path(module["Dir"])
