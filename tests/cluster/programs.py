"""Boundary to the Go tool chain: builds the programs a real cluster is made of, once, into a cache outside the tree.

Versions and checksums are those of go.mod and go.sum in `go/` and `go/containerd/`; the cache is keyed by them.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).with_name("go")
CONTAINERD = "github.com/containerd/containerd/v2/cmd"
CONTAINERD_TAGS = "no_btrfs,no_zfs,no_devmapper"

PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "kubelet": "k8s.io/kubernetes/cmd/kubelet",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    "containerd": f"{CONTAINERD}/containerd",
    "containerd-shim-runc-v2": f"{CONTAINERD}/containerd-shim-runc-v2",
    "ctr": f"{CONTAINERD}/ctr",
}
API_SERVER = ("etcd", "kube-apiserver")
CONTROLLERS = ("kube-controller-manager", "kube-scheduler")
NODE = ("kubelet", "kubectl", "containerd", "containerd-shim-runc-v2", "ctr")

# The three programs that the Kubernetes project packs for tests of this kind.
ASSETS = frozenset({"etcd", "kube-apiserver", "kubectl"})


class ProgramsMissingError(RuntimeError):
    """A program is neither there nor can it be built here; the text says what to install."""


@dataclass(frozen=True, slots=True)
class Module:
    """One of the two Go modules: where it is and how its programs are compiled."""

    directory: Path
    flags: tuple[str, ...]


def find(*names: str) -> dict[str, Path]:
    """Return the path of each program, building those that are neither in KUBEBUILDER_ASSETS nor in the cache.

    The first build takes some minutes; what happens is told on stderr.

    Raises:
        ProgramsMissingError: something has to be built and there is no Go.
        subprocess.CalledProcessError: a build failed.

    """
    found = {name: path for name in names if (path := _asset(name))}
    directory = cache_directory()
    to_build = [name for name in names if name not in found]
    missing = [name for name in to_build if not (directory / name).exists()]
    if missing:
        go = shutil.which("go")
        if go is None:
            raise ProgramsMissingError(
                f"{', '.join(missing)} can't be built, there is no `go`. Install Go (https://go.dev/dl/), or set "
                "KUBEBUILDER_ASSETS to a folder with etcd and kube-apiserver (controllers and nodes need Go)"
            )
        _build(go, missing, directory)
    return found | {name: directory / name for name in to_build}


def available(*names: str) -> bool:
    """Say whether `find` would return all of these, perhaps after building them."""
    directory = cache_directory()
    return shutil.which("go") is not None or all(_asset(name) or (directory / name).exists() for name in names)


def cache_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for the programs of just these versions on this kind of machine."""
    digest = hashlib.sha256()
    for folder in (MODULES, MODULES / "containerd"):
        for name in ("go.mod", "go.sum"):
            digest.update((folder / name).read_bytes())
    digest.update(f"{platform.system()} {platform.machine()}".encode())
    cache = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "kube-mcp-gateway" / "test-programs" / digest.hexdigest()[:16]


def _asset(name: str) -> Path | None:
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    if not folder or name not in ASSETS:
        return None
    path = Path(folder) / name
    return path if path.exists() else None


def _module(name: str) -> Module:
    if PACKAGES[name].startswith(CONTAINERD):
        return Module(MODULES / "containerd", ("-tags", CONTAINERD_TAGS))
    # Built outside its own repository Kubernetes would call itself v0.0.0-master and refuse to compare versions.
    found = re.search(r"k8s\.io/kubernetes v(1\.(\d+)\.\d+)", (MODULES / "go.mod").read_text())
    assert found, "go.mod names no version of k8s.io/kubernetes"
    variables = {"gitVersion": f"v{found[1]}", "gitMajor": "1", "gitMinor": found[2]}
    values = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in variables.items())
    return Module(MODULES, ("-ldflags", f"-s -w {values}"))


def _build(go: str, names: list[str], directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(directory / "lock"), tempfile.TemporaryDirectory(dir=directory) as temporary:
        # Flags of a developer's own (a vendor folder, a workspace) would build something else than go.sum says.
        environment = {
            **os.environ,
            "CGO_ENABLED": "0",
            "GOBIN": temporary,
            "GOFLAGS": "-mod=readonly",
            "GOWORK": "off",
        }
        for number, name in enumerate(names, 1):
            if (directory / name).exists():
                continue
            _tell(f"building {name} for the test clusters ({number} of {len(names)}, once; can take some minutes)")
            started = time.monotonic()
            module, package = _module(name), PACKAGES[name]
            subprocess.run([go, "install", *module.flags, package], cwd=module.directory, env=environment, check=True)
            (built,) = Path(temporary).iterdir()
            built.rename(directory / name)
            _tell(f"built {name} in {time.monotonic() - started:.0f} s")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _tell("waiting for another test run that is building the test clusters' programs")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _tell(text: str) -> None:
    sys.stderr.write(f"tests.cluster: {text}\n")
    sys.stderr.flush()
