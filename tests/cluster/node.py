"""Boundary to a real node: containerd, runc and kubelet beside a control plane, so that containers really run.

The node lives in the keeper's own mount table, with its own /run, /var/lib and /var/log, below a control group of its
own, and on a bridge of its own. All of it goes when the keeper ends. Linux, as root.
"""

import hashlib
import ipaddress
import json
import os
import secrets
import shutil
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

from . import images, programs
from .cluster import RealCluster
from .keeper import Keeper

NODE_NAME = "node1"
NODE_SECONDS = 60.0
CNI_FOLDERS = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
# Debian's packages, each with the program it is needed for.
PACKAGES = {
    "runc": "runc",
    "busybox-static": "busybox",
    "containernetworking-plugins": "host-local",
    "iproute2": "ip",
}
CGROUPS = Path("/sys/fs/cgroup")
# RFC 6598: shared between carriers and their customers, so it is neither a private network's nor the Internet's.
ADDRESSES = ipaddress.IPv4Network("100.64.0.0/10")
CAP_NET_ADMIN, CAP_SYS_ADMIN = 12, 21
SOCKET = "/run/containerd/containerd.sock"


class RealNodeCluster(RealCluster):
    """A control plane with one node, which runs `local.test/busybox:1` (imagePullPolicy: Never) and nothing else.

    Pods reach each other and the node, not the API server. A rotation of keys or CA does not reach the kubelet.
    """

    def up(self) -> None:
        """Start control plane and node (some 10 s), and wait until the node is ready.

        Raises:
            ProgramsMissingError: a program or a right is missing here; the text says what to install.

        """
        if lacking := missing():
            raise programs.ProgramsMissingError(lacking)
        super().up()

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl as the administrator and return its output.

        Raises:
            subprocess.CalledProcessError: its exit code was not 0; stderr has why.

        """
        cache = f"--cache-dir={self.directory / 'kubectl'}"
        command = [str(self.programs["kubectl"]), f"--kubeconfig={self.kubeconfig}", cache, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def _program_names(self) -> tuple[str, ...]:
        return (*super()._program_names(), *programs.NODE)

    def _new_keeper(self) -> Keeper:
        return Keeper(self.directory, private=True)

    def _start(self) -> None:
        super()._start()
        bridge, cgroup = names_of_run(self.directory)
        network = _free_network()
        self.keeper.at_end_remove_cgroup(cgroup)
        _make_cgroup(cgroup)
        self._start_containerd(bridge, network)
        address = str(network[1])
        self.keeper.at_end(["ip", "link", "delete", bridge])
        self.keeper.run(["ip", "link", "add", bridge, "type", "bridge"])
        self.keeper.run(["ip", "address", "add", f"{address}/{network.prefixlen}", "dev", bridge])
        self.keeper.run(["ip", "link", "set", bridge, "up"])
        self.wait(
            "containerd answers", Path(f"/proc/{self.keeper.pids['containerd']}/root{SOCKET}").exists, ("containerd",)
        )
        archive = self.directory / "images.tar"
        archive.write_bytes(images.archive(_program("busybox")))
        ctr = self.programs["ctr"]
        self.keeper.run([ctr, f"--address={SOCKET}", "--namespace=k8s.io", "images", "import", archive])
        self._start_kubelet(address, cgroup)
        self.wait("the node is ready", self._node_is_ready, ("containerd", "kubelet"), NODE_SECONDS)

    def _start_containerd(self, bridge: str, network: ipaddress.IPv4Network) -> None:
        plugins = self.directory / "cni"
        plugins.mkdir()
        ranges = [[{"subnet": str(network), "rangeStart": str(network[2])}]]
        # No gateway and no masquerading: those would switch on forwarding and write rules for the whole machine.
        plugin = {"type": "bridge", "bridge": bridge, "ipam": {"type": "host-local", "ranges": ranges}}
        config = {"cniVersion": "1.0.0", "name": bridge, "plugins": [plugin]}
        self.write("cni/10-bridge.conflist", json.dumps(config))
        path = self.write(
            "containerd.toml",
            f"""\
version = 3
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.cri.v1.images"]
# Copies a megabyte for each container and works where overlayfs does not, such as on overlayfs.
snapshotter = "native"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{images.PAUSE}"
[plugins."io.containerd.cri.v1.runtime"]
# Without CAP_SYS_RESOURCE, which containers of CI services lack, runc can't lower a score.
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{_program("host-local").parent}"]
conf_dir = "{plugins}"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
""",
        )
        program = self.programs["containerd"]
        search = {"PATH": f"{program.parent}:/usr/sbin:/sbin:{os.environ['PATH']}"}
        self.keeper.start("containerd", [program, f"--config={path}"], search)

    def _start_kubelet(self, address: str, cgroup: str) -> None:
        kubeconfig = self.write_client("kubelet", f"system:node:{NODE_NAME}", "system:nodes")
        config = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": address,
            "healthzPort": 0,
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.directory / "clients.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": cgroup,
            "cgroupsPerQOS": True,
            "enforceNodeAllocatable": [],
            "failCgroupV1": False,
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,
            "resolvConf": "/dev/null",
            # Nothing answers there; without it every pod gets a warning event.
            "clusterDNS": ["10.0.0.10"],
            "clusterDomain": "cluster.local",
            "evictionHard": {"memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
        }
        self.keeper.start(
            "kubelet",
            [
                self.programs["kubelet"],
                f"--config={self.write('kubelet.json', json.dumps(config))}",
                f"--kubeconfig={kubeconfig}",
                f"--hostname-override={NODE_NAME}",
                f"--node-ip={address}",
            ],
        )

    def _node_is_ready(self) -> bool:
        status, data = self.admin.request("GET", f"/api/v1/nodes/{NODE_NAME}")
        if status != HTTPStatus.OK:
            return False
        node = json.loads(data)
        ready = any(
            each["type"] == "Ready" and each["status"] == "True" for each in node["status"].get("conditions", ())
        )
        # Until a controller takes the taint away nothing is scheduled here.
        return ready and not node["spec"].get("taints")


def names_of_run(directory: Path) -> tuple[str, str]:
    """Return the names of the bridge and the control group of the node with this folder."""
    run = hashlib.sha256(directory.name.encode()).hexdigest()[:8]
    return f"kmg{run}", f"/kube-mcp-gateway-{run}"


def missing() -> str | None:
    """Say what a node needs that is not here, or nothing."""
    if sys.platform != "linux":
        return "a node needs Linux"
    capabilities = int(Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0], 16)
    if os.geteuid() != 0 or not all(capabilities >> bit & 1 for bit in (CAP_NET_ADMIN, CAP_SYS_ADMIN)):
        return "a node needs root, with CAP_SYS_ADMIN and CAP_NET_ADMIN"
    lacking = [package for package, program in PACKAGES.items() if not _find(program)]
    return f"a node needs these packages: {', '.join(lacking)}" if lacking else None


def _program(name: str) -> Path:
    found = _find(name)
    assert found, f"there is no {name}"
    return found


def _find(program: str) -> Path | None:
    found = shutil.which(program, path=os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin", *CNI_FOLDERS)))
    return Path(found) if found else None


def _make_cgroup(path: str) -> None:
    """Make a control group: in each hierarchy of version 1, or in version 2 with the controllers kubelet wants."""
    controllers = CGROUPS / "cgroup.controllers"
    if controllers.exists():
        wanted = " ".join(f"+{name}" for name in controllers.read_text().split())
        (CGROUPS / "cgroup.subtree_control").write_text(wanted)
        (CGROUPS / path.strip("/")).mkdir()
        return
    for hierarchy in CGROUPS.iterdir():
        # Where controllers share a hierarchy their own names are links to it.
        if hierarchy.is_symlink() or not hierarchy.is_mount():
            continue
        group = hierarchy / path.strip("/")
        group.mkdir()
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (hierarchy / name).exists():
                (group / name).write_text((hierarchy / name).read_text())


def _free_network() -> ipaddress.IPv4Network:
    """Return a /24 that no address or route of this machine touches."""
    listed = [json.loads(_ip("-json", "-4", *what)) for what in (("address",), ("route", "show", "table", "all"))]
    texts = [info["local"] for link in listed[0] for info in link.get("addr_info", ())]
    texts += [route["dst"] for route in listed[1] if route["dst"] != "default"]
    taken = [ipaddress.IPv4Network(text) for text in texts]
    return secrets.choice([each for each in ADDRESSES.subnets(new_prefix=24) if not any(map(each.overlaps, taken))])


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True).stdout
