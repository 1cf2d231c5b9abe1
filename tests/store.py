"""Boundary to a real Valkey or Redis: the store that replicas share."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.plugin import unavailable
from tests.ports import free_port, wait_for_port

PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Store:
    """A store that runs, and its URL."""

    url: str
    process: "subprocess.Popen[bytes]"


@contextmanager
def running_store(folder: Path, port: int | None = None) -> Iterator[Store]:
    """Run one until the block ends, on this port or any; it takes connections already."""
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        unavailable("needs valkey-server or redis-server (Debian: redis-server)")
    port = port or free_port()
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port)
        yield Store(f"redis://127.0.0.1:{port}/0", process)
    finally:
        process.terminate()
        process.wait(PATIENCE)
