"""Boundary to embedded clusters in a process of their own, so that what they cost is not the gateway's.

`python -m tests.bench.embedded WORLD_JSON` serves until its stdin ends. It writes one line of JSON that says how to
reach the clusters, and then one for each line that it reads: what each cluster was asked so far.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from gateway.cli.serve import loop_factory
from gateway.demo import EmbeddedCluster
from gateway.demo.faults import HugeList, Latency
from tests.bench.processes import end

TEXT = "kubernetes " * 160
NAMESPACE, NAME = "demo", "two-kilobytes"
OBJECTS_NAMESPACE = "many"


@dataclass(frozen=True, slots=True)
class World:
    """How many clusters, and what is the same in each: callers, ConfigMaps, seconds before any answer.

    `huge` is the size in bytes of every list of `endpoints`; 0 is none.
    """

    clusters: int = 1
    callers: int = 1
    objects: int = 0
    latency: float = 0.0
    huge: int = 0


@dataclass(frozen=True, slots=True)
class Reached:
    """One cluster as the gateway's settings and its callers know it."""

    name: str
    server: str
    ca: str
    tokens: Sequence[str]

    def listed(self, **more: Any) -> dict[str, Any]:
        """Return the cluster's section of the settings; calls are counted, but never too many."""
        limits = {"readsPerMinute": 1_000_000, **more.pop("limits", {})}
        return {
            "name": self.name,
            "server": self.server,
            "certificateAuthorityData": self.ca,
            "limits": limits,
            **more,
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """What a cluster saw so far: requests, and connections accepted."""

    requests: int
    connections: int


class Embedded:
    """The process, from outside."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        """Wait until the clusters are there."""
        self._process = process
        self.pid = process.pid
        self.clusters = [Reached(**each) for each in self._read()]

    def asked(self) -> list[Asked]:
        """Ask what each cluster saw so far."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return [Asked(**each) for each in self._read()]

    def _read(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@contextmanager
def embedded(world: World) -> Iterator[Embedded]:
    """Run the world until the block ends."""
    command = [sys.executable, "-m", "tests.bench.embedded", json.dumps(asdict(world))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Embedded(process)
        finally:
            end(process)


async def _serve(world: World) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as starting:
        started = [starting.create_task(EmbeddedCluster(f"c{n}").start()) for n in range(world.clusters)]
    clusters = [each.result() for each in started]
    with ExitStack() as faults:
        reached = [Reached(c.name, c.server, c.ca_pem.decode(), await _filled(c, world)) for c in clusters]
        for cluster in clusters:
            if world.latency:
                faults.enter_context(cluster.fault(Latency(world.latency)))
            if world.huge:
                faults.enter_context(cluster.fault(HugeList(world.huge), paths=["*/endpoints"]))
        _write([asdict(each) for each in reached])
        while await loop.run_in_executor(None, sys.stdin.readline):
            _write([asdict(Asked(c.served, c.connections)) for c in clusters])
    for cluster in clusters:
        await cluster.stop()


async def _filled(cluster: EmbeddedCluster, world: World) -> list[str]:
    names = ["mcp", *(f"caller-{n}" for n in range(1, world.callers))]
    cluster.seed(_account(name) for name in names[1:])
    cluster.seed([_binding(names)])
    cluster.seed([_config_map(NAMESPACE, NAME, TEXT)])
    cluster.seed(_config_map(OBJECTS_NAMESPACE, f"object-{n:06}", "x" * 200) for n in range(world.objects))
    return [await cluster.token(service_account=f"demo/{name}", seconds=7200) for name in names]


def _account(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "demo"}}


def _binding(names: Sequence[str]) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "callers"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "demo"} for name in names],
    }


def _config_map(namespace: str, name: str, text: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": text}}


def _write(line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(World(**json.loads(sys.argv[1]))))
