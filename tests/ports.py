"""Boundary to the loopback's ports: one that nobody has, and one that somebody is to listen on."""

import socket
import time

PATIENCE = 60.0
"""Seconds that somebody may take to listen."""


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def wait_for_port(port: int) -> None:
    """Wait until somebody listens there on the loopback.

    Raises:
        TimeoutError: Nobody does.
    """
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.005)
    raise TimeoutError(f"nobody listens on port {port}")
