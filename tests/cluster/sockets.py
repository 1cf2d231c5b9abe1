"""Boundary to the kernel's table of TCP sockets (proc(5), Linux): who is connected to a port of the loopback.

An API server's own metrics count requests, not connections.
"""

import contextlib
from collections.abc import Iterable
from pathlib import Path

LISTENING = "0A"


def clients_of(port: int) -> dict[int, int]:
    """Return the ports from which connections to this port came, and their inodes; ended ones for a minute more.

    The inode is 0 where the client's end is closed.
    """
    found: dict[int, int] = {}
    # IPv4 clients whose socket is an IPv6 one are in the second table.
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:]:
            _, local, remote, state, *_, inode = line.split()[:10]
            local_port, remote_port = (int(address.rpartition(":")[2], 16) for address in (local, remote))
            if state == LISTENING:
                continue
            if remote_port == port:
                found[local_port] = int(inode)
            elif local_port == port:
                found.setdefault(remote_port, 0)
    return found


def inodes_of(pids: Iterable[int]) -> set[int]:
    """Return the inodes of all sockets that these processes have open; those that ended have none."""
    found = set[int]()
    for pid in pids:
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    target = str(descriptor.readlink())
                    if target.startswith("socket:["):
                        found.add(int(target[8:-1]))
    return found
