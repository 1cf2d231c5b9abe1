"""Boundary between a client that starts a command and the gateway: MCP on stdio, with tokens renewed in time."""

import asyncio
import contextlib
import logging
import shlex
import signal
import ssl
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway.bridge.server import Bridge
from gateway.bridge.stdio import standard_streams
from gateway.bridge.tasks import Tasks
from gateway.bridge.tokens import Mint, Tokens
from gateway.bridge.upstream import open_upstream
from gateway.cli.listing import target
from gateway.cli.minting import mint_for
from gateway.errors import BadArgument, GatewayError
from gateway.options import is_loopback
from gateway.telemetry.logs import LogOptions, configure_logging


@dataclass(frozen=True, slots=True)
class Minting:
    """How tokens are made from a kubeconfig: whose, for which gateway, and for how many seconds."""

    kubeconfig: Path | None
    service_account: str
    audience: str | None
    seconds: int


def from_kubeconfig(contexts: Sequence[str], minting: Minting, beside: Mapping[str, Mint]) -> dict[str, Mint]:
    """Return what mints tokens for each context, by the NAME of `NAME=CONTEXT` or a name made from the context's.

    Those that are there already stand beside them.

    Raises:
        KubeconfigError: The kubeconfig can't be read, or has no such context.
        BadArgument: Two are called the same.
    """
    minters = dict(beside)
    for word in contexts or ("",):
        name, named, context = word.partition("=")
        context = context if named else name
        found = target(None, None, minting.kubeconfig, context or None, minting.audience)
        _add(minters, name if named else found.name, _minter(found.context.name, minting))
    return minters


def _minter(context: str, minting: Minting) -> Mint:
    async def mint() -> str:
        # Read each time: whoever signs in again may have written it anew.
        found = target(None, None, minting.kubeconfig, context, minting.audience)
        return (await mint_for(found, minting.service_account, minting.seconds)).token

    return mint


def from_commands(words: Sequence[str]) -> dict[str, Mint]:
    """Return what takes each cluster's token from the output of a command, given as `NAME=COMMAND`.

    Raises:
        BadArgument: One is not of this form.
    """
    minters: dict[str, Mint] = {}
    for word in words:
        name, separator, command = word.partition("=")
        try:
            arguments = shlex.split(command)
        except ValueError as error:
            raise BadArgument(f"--token-command {name}: {error}.") from error
        if not separator or not arguments:
            raise BadArgument(f"--token-command is NAME=COMMAND, not {word!r}.")
        _add(minters, name, _runner(arguments))
    return minters


def _runner(arguments: Sequence[str]) -> Mint:
    program = Path(arguments[0]).name

    async def run() -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
            )
        except OSError as error:
            raise GatewayError(f"{program} can't be run: {error.strerror}.") from error
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        token = output.decode(errors="replace").strip()
        if process.returncode or not token.isprintable() or not token or " " in token:
            raise GatewayError(f"{program} printed no token (exit status {process.returncode}).")
        return token

    return run


def _add(minters: dict[str, Mint], name: str, mint: Mint) -> None:
    if name in minters:
        raise BadArgument(f"Cluster {name} is named twice.")
    minters[name] = mint


def run(url: str, ca: Path | None, minters: Mapping[str, Mint], level: str) -> None:
    """Serve the client on standard input and output until it goes.

    Raises:
        BadArgument: The URL or the CA file can't be used.
    """
    tls = _tls(url, ca)
    configure_logging(LogOptions.model_validate({"level": level, "format": "pretty"}), sys.stderr)
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_serve(url, tls, minters))


def _tls(url: str, ca: Path | None) -> ssl.SSLContext:
    try:
        parts = urlsplit(url)
        host, scheme = parts.hostname or "", parts.scheme
    except ValueError:
        host = scheme = ""
    if scheme not in ("http", "https") or not host:
        raise BadArgument(f"--url is a URL such as https://mcp.example/mcp, not {url!r}.")
    if scheme == "http" and not is_loopback(host):
        raise BadArgument(f"--url {url} is not encrypted: whoever is in between would read every token.")
    try:
        return ssl.create_default_context(cafile=str(ca) if ca else None)
    except (OSError, ssl.SSLError) as error:
        raise BadArgument(f"--ca {ca} can't be read as PEM certificates: {error.strerror or error}.") from error


async def _serve(url: str, tls: ssl.SSLContext, minters: Mapping[str, Mint]) -> None:
    this = asyncio.current_task()
    if this is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    async with contextlib.AsyncExitStack() as stack:
        upstreams = [
            await stack.enter_async_context(open_upstream(name, url, Tokens(name, mint), tls))
            for name, mint in minters.items()
        ]
        tasks = await stack.enter_async_context(Tasks())
        server, options = Bridge(upstreams, tasks).server()
        reading, writing = await stack.enter_async_context(standard_streams())
        await server.run(reading, writing, options)
