"""Boundary to the processes that are measured: started with what they need, looked at from outside, ended."""

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.ports import free_port

START_SECONDS = 60.0
GATEWAY = ("-c", "from gateway.cli import main; main()", "serve", "--config")
"""The command; the file of the settings comes behind it."""
_NOTHING: Mapping[str, str] = MappingProxyType({})


class NotStartedError(Exception):
    """A process that is to be measured did not answer."""


@dataclass(frozen=True, slots=True)
class Served:
    """A running gateway or floor: its ports, its process, and what its start took in seconds and CPU seconds."""

    port: int
    admin: int
    pid: int
    start_seconds: float
    start_cpu: float


@contextmanager
def gateway(
    folder: Path,
    clusters: Sequence[Mapping[str, Any]],
    *,
    program: Sequence[str] = GATEWAY,
    environment: Mapping[str, str] = _NOTHING,
    **settings: Any,
) -> Iterator[Served]:
    """Serve with these clusters on free ports until the block ends; everything is on, and the log goes to a file."""
    port, admin = free_port(), free_port()
    file = folder / f"gateway-{port}.yaml"
    written = {"listen": {"port": port}, "admin": {"port": admin}, "clusters": list(clusters), **settings}
    file.write_text(json.dumps(written))
    log = folder / f"gateway-{port}.log"
    with log.open("wb") as stream, serving([*program, str(file)], environment, stream) as process:
        try:
            served = _ready(process, port, admin, "/readyz")
        except NotStartedError as error:
            raise NotStartedError(log.read_text(encoding="utf-8")[-2000:]) from error
        yield served


@contextmanager
def floor(server: str, ca_file: Path, path: str, token: str) -> Iterator[Served]:
    """Serve the floor, whose one tool GETs `path` of this API server."""
    port = free_port()
    command = ["-m", "tests.bench.floor", str(port), server, str(ca_file), path]
    with serving(command, {"FLOOR_TOKEN": token}) as process:
        yield _ready(process, port, port, "/mcp")


@contextmanager
def serving(
    command: Sequence[str], environment: Mapping[str, str], log: Any = subprocess.DEVNULL
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a Python program of ours until the block ends."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KUBE_MCP_GATEWAY_")}
    process = subprocess.Popen(
        [sys.executable, *command], env={**inherited, **environment}, stdout=subprocess.DEVNULL, stderr=log
    )
    try:
        yield process
    finally:
        end(process)


def end(process: "subprocess.Popen[Any]") -> None:
    """Ask a process to end, and make it."""
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _ready(process: "subprocess.Popen[bytes]", port: int, admin: int, path: str) -> Served:
    """Wait until something answers there, other than that it is not ready."""
    started = time.perf_counter()
    while time.perf_counter() - started < START_SECONDS:
        if process.poll() is not None:
            break
        connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=5)
        try:
            connection.request("GET", path)
            if connection.getresponse().status != 503:
                return Served(port, admin, process.pid, time.perf_counter() - started, cpu_seconds(process.pid))
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.005)
    raise NotStartedError(f"{process.args!r} did not start")


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process (proc(5)), which a busy machine disturbs less than the clock."""
    if not pid:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """Return a process' resident memory in KiB."""
    return _status(pid, "VmRSS")


def peak(pid: int) -> float:
    """Return the most that was resident since the start or `forget_peak`, in KiB."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Let `peak` begin anew (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def _status(pid: int, name: str) -> float:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    assert found, name
    return float(found[1])


def sockets(pid: int) -> int:
    """Count a process' open sockets, when those of whoever asked for its state are gone."""
    counts = []
    for _ in range(10):
        counts.append(sum(_leads_to(link).startswith("socket:") for link in Path(f"/proc/{pid}/fd").iterdir()))
        time.sleep(0.02)
    return min(counts)


def _leads_to(link: Path) -> str:
    try:
        return link.readlink().name
    except FileNotFoundError:  # closed since it was listed
        return ""


def tell(words: str) -> None:
    """Show on stderr what is being measured."""
    sys.stderr.write(f"\r\033[K{words}" if sys.stderr.isatty() else f"{words}\n")
    sys.stderr.flush()
