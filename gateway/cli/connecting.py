"""Boundary between words on the command line and the bridge that a client starts."""

import gc
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.words import Kubeconfig, ServiceAccount, Url, complete_context


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def connect(
    *,
    url: Url = "http://127.0.0.1:8080/mcp",
    context: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]CONTEXT",
            help="A cluster, by its context; agents know it as NAME. Repeatable.  [default: the current context]",
            autocompletion=complete_context,
        ),
    ] = None,
    service_account: ServiceAccount = None,
    duration: Annotated[str, typer.Option(help="How long each token lasts; it is renewed before.")] = "1h",
    audience: Annotated[str | None, typer.Option(help="The gateway's own audience.  [default: k-mcp]")] = None,
    kubeconfig: Kubeconfig = None,
    token_command: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=COMMAND",
            help="A cluster whose token this command prints, instead of minting one. Repeatable.",
        ),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(help="CA bundle (PEM) of the gateway's own certificate.  [default: the system's]")
    ] = None,
    log_level: Annotated[LogLevel, typer.Option(help="How much to say on standard error.")] = LogLevel.WARNING,
) -> None:
    """Serve MCP on standard input and output, for a client that starts a command: what the gateway serves, no more.

    Tokens are minted with your own kubeconfig and renewed before they run out, so a session outlives them all.

    **One cluster:** `kube-mcp-gateway connect --url https://mcp.example/mcp --context east`

    **Several** are one server whose tools take `cluster`, so that an agent compares them:
    `kube-mcp-gateway connect --url https://mcp.example/mcp --context east --context prod=arn:aws:eks:…`

    A client's entry that starts it: `kube-mcp-gateway token --context east --output claude-desktop`
    """
    # The client waits for this, and what the SDK makes while it is imported stays: looking through it, over and over,
    # for what could go takes a sixth of the time.
    gc.disable()
    from gateway.cli.connect import Minting, from_commands, from_kubeconfig, run  # noqa: PLC0415
    from gateway.cli.minting import seconds_of  # noqa: PLC0415
    from gateway.operator.naming import account  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    minters = from_commands(token_command or ())
    if context or not minters:
        minting = Minting(kubeconfig, account(service_account), audience, seconds_of(duration))
        minters = from_kubeconfig(context or (), minting, minters)
    run(url, ca, minters, log_level.value)
