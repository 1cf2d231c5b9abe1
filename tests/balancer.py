"""Boundary to haproxy: a balancer in front of replicas, which asks each whether it is ready, as Kubernetes would."""

import csv
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.plugin import unavailable
from tests.ports import free_port

CONFIG = """
global
  stats socket {folder}/admin.sock level admin
defaults
  mode http
  timeout connect 5s
  timeout client 120s
  timeout server 120s
  # Without it a check has no longer than its interval, and a busy replica would be taken for one that ended.
  timeout check 5s
  # What a replica did not take is not sent to it again, and not to another: a test wants to see it fail.
  retries 0
frontend agents
  bind 127.0.0.1:{port}
  default_backend replicas
backend replicas
  balance {balance}
  option httpchk GET /readyz
  default-server check inter 200ms fall 2 rise 1
{servers}
"""
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Replica:
    """Where a replica listens: `port` for agents, `admin` for its probes."""

    name: str
    port: int
    admin: int


@dataclass(frozen=True, slots=True)
class Balancer:
    """A haproxy that runs."""

    url: str
    control: Path

    def states(self) -> Mapping[str, str]:
        """Return each replica's state: `UP` once it said that it is ready, else `DOWN`."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.control))
            client.sendall(b"show stat\n")
            text = b"".join(iter(lambda: client.recv(65536), b"")).decode().removeprefix("# ")
        rows = csv.DictReader(text.splitlines())
        # haproxy takes a replica that it has not asked yet for one that is up.
        ready = {
            row["svname"]: row["status"].startswith("UP") and row["check_status"].endswith("L7OK")
            for row in rows
            if row["pxname"] == "replicas"
        }
        return {name: "UP" if up else "DOWN" for name, up in ready.items()}

    def wait_for(self, **states: str) -> None:
        """Wait until the named replicas are in these states."""
        deadline = time.monotonic() + PATIENCE
        while not states.items() <= self.states().items():
            assert time.monotonic() < deadline, self.states()
            time.sleep(0.05)


@contextmanager
def balancing(
    folder: Path, replicas: Sequence[Replica], *, balance: str = "roundrobin", more: str = ""
) -> Iterator[Balancer]:
    """Run haproxy in front of these replicas, whether or not they run yet.

    `balance` is its algorithm, `more` are further lines about the replicas.
    """
    if shutil.which("haproxy") is None:
        unavailable("there is no haproxy; on Debian and Ubuntu: apt-get install haproxy")
    port = free_port()
    servers = "\n".join(f"  server {each.name} 127.0.0.1:{each.port} port {each.admin}" for each in replicas)
    file = folder / "haproxy.cfg"
    file.write_text(CONFIG.format(folder=folder, port=port, balance=balance, servers=f"{more}\n{servers}"))
    process = subprocess.Popen(["haproxy", "-db", "-q", "-f", str(file)])
    balancer = Balancer(f"http://127.0.0.1:{port}/mcp", folder / "admin.sock")
    try:
        deadline = time.monotonic() + PATIENCE
        while not balancer.control.exists():
            assert process.poll() is None, file.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield balancer
    finally:
        process.terminate()
        process.wait(10)
