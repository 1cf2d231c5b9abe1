"""Boundary to the sockets the gateway listens on, and the life of the admin listener."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from hypercorn import Config
from hypercorn.asyncio import serve
from quart import Quart

from gateway.admin.app import LIVE
from gateway.admin.options import AdminOptions
from gateway.errors import GatewayError

BACKLOG: Final = 1024
"""Connections that may wait to be accepted."""


def bind(host: str, port: int, *, otherwise: str) -> socket.socket:
    """Listen on a TCP port; 0 takes a free one, `::` takes IPv4 as well. `otherwise` says how to choose another port.

    Raises:
        GatewayError: It can't; the text says why, in one line.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as error:
        raise GatewayError(f"can't listen on {host}: this machine knows no such name") from error
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server(address, family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        raise GatewayError(_refusal(error.errno or 0, host, port, otherwise)) from error


def _refusal(number: int, host: str, port: int, otherwise: str) -> str:
    if number == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; end what listens there, or {otherwise}"
    if number == errno.EACCES:
        return f"port {port} on {host} needs rights this user lacks; {otherwise}"
    if number == errno.EADDRNOTAVAIL:
        return f"can't listen on {host}: this machine has no such address"
    return f"can't listen on port {port} of {host}: {os.strerror(number)}"


def url_of(sock: socket.socket, *, scheme: str = "http") -> str:
    """Return the URL of what listens there."""
    host, port = sock.getsockname()[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


@asynccontextmanager
async def admin_listener(app: Quart, options: AdminOptions) -> AsyncIterator[str]:
    """Serve the admin app as long as the context lasts, and give its URL.

    Raises:
        GatewayError: Its port can't be had.
    """
    sock = bind(options.host, options.port, otherwise="choose another with admin.port (KUBE_MCP_GATEWAY_ADMIN__PORT)")
    url = url_of(sock)
    config = Config()
    config.bind = [f"fd://{sock.detach()}"]
    config.backlog = BACKLOG
    config.include_server_header = False
    config.errorlog = logging.getLogger("hypercorn.error")
    config.graceful_timeout = 1
    end = asyncio.Event()
    serving = asyncio.create_task(serve(app, config, shutdown_trigger=end.wait), name="admin-listener")
    try:
        yield url
    finally:
        if (live := app.extensions.get(LIVE)) is not None:
            await live.close()
        end.set()
        await serving
