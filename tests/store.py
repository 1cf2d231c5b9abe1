"""Boundary to a real Valkey or Redis: the store that replicas share."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.balancer import free_port
from tests.cluster.plugin import unavailable

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
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield Store(f"redis://127.0.0.1:{port}/0", process)
    finally:
        process.terminate()
        process.wait(PATIENCE)
