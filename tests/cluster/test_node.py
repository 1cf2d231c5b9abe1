"""The node that tests with containers stand on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .node import CGROUPS, RealNodeCluster, names_of_run
from .test_cluster import ROOT

pytestmark = pytest.mark.slow

POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: demo}}
spec:
  containers:
  - name: main
    image: local.test/busybox:1
    imagePullPolicy: Never
    command: [sh, -c, {command}]
    resources: {{limits: {{memory: 16Mi}}}}
"""


async def test_containers_run_and_are_reached(real_node: RealNodeCluster) -> None:
    """A pod gets an address, its log is read, and a command in it gets output and exit code."""
    await real_node.apply(POD.format(name="node-runs", command="echo hello; sleep 1000"))
    _wait(real_node, "node-runs", "condition=Ready")
    assert real_node.kubectl("logs", "-n=demo", "node-runs") == "hello\n"
    assert real_node.kubectl("exec", "-n=demo", "node-runs", "--", "sh", "-c", "echo $((6 * 7))") == "42\n"
    with pytest.raises(subprocess.CalledProcessError) as failed:
        real_node.kubectl("exec", "-n=demo", "node-runs", "--", "sh", "-c", "exit 5")
    assert failed.value.returncode == 5


async def test_a_crash_loop_is_one(real_node: RealNodeCluster) -> None:
    """A command that fails is started again, backs off, and leaves its previous log."""
    await real_node.apply(POD.format(name="node-crashes", command="echo bye; exit 3"))
    _wait(real_node, "node-crashes", "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff")
    assert real_node.kubectl("logs", "-n=demo", "node-crashes", "--previous") == "bye\n"
    pod = json.loads(real_node.kubectl("get", "pod", "-n=demo", "node-crashes", "-o=json"))
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 3


async def test_too_much_memory_is_an_oom_kill(real_node: RealNodeCluster) -> None:
    """A container that exceeds its memory limit is killed for just that."""
    await real_node.apply(POD.format(name="eats", command="tail /dev/zero"))
    _wait(real_node, "eats", "jsonpath={.status.containerStatuses[0].lastState.terminated.reason}=OOMKilled")


@pytest.mark.usefixtures("real_node")
def test_nothing_of_a_node_outlives_the_run() -> None:
    """After a SIGKILL of the run no process, interface, mount, control group or file of its node is left."""
    command = [sys.executable, "-m", "tests.cluster", "up", "aborted", "--node"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout
        assert process.stderr
        told = dict(process.stdout.readline().strip().split(": ") for _ in range(5))
        folder = Path(told["ca"]).parent
        bridge, cgroup = names_of_run(folder)
        kubectl = [told["kubectl"], f"--kubeconfig={told['kubeconfig']}"]
        manifest = POD.format(name="left", command="sleep 1000")
        subprocess.run([*kubectl, "apply", "-f=-"], input=manifest, text=True, check=True, capture_output=True)
        wait = ["wait", "-n=demo", "pod/left", "--for=condition=Ready", "--timeout=60s"]
        subprocess.run([*kubectl, *wait], check=True, capture_output=True)
        # Without the keeper, the first: it ends an instant after this test can know that all else has ended.
        pids, links = _descendants(process.pid)[1:], _links(bridge)
        groups = [path for path in CGROUPS.glob(f"**{cgroup}") if path.is_dir()]
        commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]
        process.kill()
        # The keeper has the other end of this pipe too: it closes when the keeper has ended everything.
        assert process.stderr.read() == ""
    assert any(b"containerd-shim" in each for each in commands)
    assert b"sleep\0001000\0" in commands
    assert len(links) > 1
    assert groups
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert [link for link in links if Path(f"/sys/class/net/{link}").exists()] == []
    assert [group for group in groups if group.exists()] == []
    assert not folder.exists()
    assert "kube-mcp-gateway" not in Path("/proc/self/mounts").read_text()


def _wait(cluster: RealNodeCluster, pod: str, condition: str) -> None:
    cluster.kubectl("wait", "-n=demo", f"pod/{pod}", f"--for={condition}", "--timeout=90s")


def _descendants(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return [each for child in map(int, listed.split()) for each in (child, *_descendants(child))]


def _links(bridge: str) -> list[str]:
    """Return a bridge and what is attached to it."""
    return [bridge, *(path.name for path in Path(f"/sys/class/net/{bridge}/brif").iterdir())]
