"""Boundary between words on the command line and the commands an operator or an engineer runs with a kubeconfig."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gateway.operator.naming import NAMESPACE


class Output(StrEnum):
    """What `token` prints."""

    TOKEN = "token"  # noqa: S105  # a word, and no token
    HEADER = "header"
    CLAUDE_CODE = "claude-code"
    CLAUDE_DESKTOP = "claude-desktop"
    VSCODE = "vscode"
    CURSOR = "cursor"
    MCP_JSON = "mcp-json"


def complete_context(incomplete: str) -> list[str]:
    """Complete the name of a context."""
    from gateway.operator.kubeconfig import KubeconfigError, read_contexts  # noqa: PLC0415

    try:
        return [context.name for context in read_contexts() if context.name.startswith(incomplete)]
    except KubeconfigError:
        return []


Config = Annotated[
    Path | None,
    typer.Option(help="The gateway's settings, which list the clusters.", envvar="KUBE_MCP_GATEWAY_CONFIG"),
]
Kubeconfig = Annotated[
    Path | None, typer.Option(help="The kubeconfig to use.  [default: KUBECONFIG, or ~/.kube/config]")
]
ServiceAccount = Annotated[
    str | None,
    typer.Option(metavar="NAMESPACE/NAME", help=f"The service account.  [default: {NAMESPACE}/agent-YOU]"),
]
Url = Annotated[str, typer.Option(help="Where agents call the gateway.")]


def token(
    cluster: Annotated[
        str | None, typer.Argument(help="A cluster by its name in the settings; without settings, a context.")
    ] = None,
    *,
    output: Annotated[
        Output, typer.Option(help="The token, its header as JSON, or an entry for a client (which holds no token).")
    ] = Output.TOKEN,
    context: Annotated[
        str | None,
        typer.Option(
            help="The context that leads there.  [default: found by the URL]", autocompletion=complete_context
        ),
    ] = None,
    duration: Annotated[str, typer.Option(help="How long it lasts: 90m, 24h, 7d.")] = "24h",
    service_account: ServiceAccount = None,
    config: Config = None,
    kubeconfig: Kubeconfig = None,
    audience: Annotated[
        str | None, typer.Option(help="The gateway's own audience.  [default: the settings', or k-mcp]")
    ] = None,
    url: Url = "http://127.0.0.1:8080/mcp",
) -> None:
    """Mint a token for a cluster, with the three audiences that lead through the gateway; nothing else is printed.

    It is asked for with your own kubeconfig (TokenRequest), so your user needs `create` on `serviceaccounts/token`.

    **For a shell:** `export TOKEN=$(kube-mcp-gateway token east --config gateway.yaml)`

    **For Claude Code,** an entry that runs this command whenever it connects:
    `kube-mcp-gateway token east --config gateway.yaml --output claude-code`
    """
    from gateway.cli.minting import Words, run  # noqa: PLC0415

    run(
        Words(
            cluster=cluster,
            config=config,
            context=context,
            kubeconfig=kubeconfig,
            service_account=service_account,
            audience=audience,
            duration=duration,
            output=output.value,
            url=url,
        )
    )


class Role(StrEnum):
    """The roles that are shipped."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    DEBUGGER = "debugger"


def onboard(
    *,
    context: Annotated[
        list[str],
        typer.Option(
            metavar="[NAME=]CONTEXT",
            help="A context of your kubeconfig, and what its cluster is to be called. Repeatable.",
            autocompletion=complete_context,
        ),
    ],
    config: Annotated[
        Path,
        typer.Option(help="The gateway's settings, made if there are none.", envvar="KUBE_MCP_GATEWAY_CONFIG"),
    ] = Path("gateway.yaml"),
    role: Annotated[
        Role,
        typer.Option(
            help="What the account may do: read; operator: apply workloads too; debugger: run commands in pods too."
        ),
    ] = Role.VIEWER,
    person: Annotated[
        str | None, typer.Option(help=f"Whose agents it is for: {NAMESPACE}/agent-PERSON.  [default: you]")
    ] = None,
    service_account: Annotated[
        str | None, typer.Option(metavar="NAMESPACE/NAME", help="The service account, if not by that rule.")
    ] = None,
    minter: Annotated[
        str | None, typer.Option(metavar="USER", help="Kubernetes user who may mint its tokens, beside administrators.")
    ] = None,
    gateway: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="A running gateway to call in the end.  [default: one is started for the occasion]"
        ),
    ] = None,
    kubeconfig: Kubeconfig = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show it, print the manifests, and change nothing.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take back what onboarding made for this account.")] = False,
) -> None:
    """Bring clusters behind the gateway: an account with a role on each, the settings, and one real call.

    Your kubeconfig's credential makes, on each cluster, a service account for one person's agents and a role that is
    no wider than the cluster's policy in the settings. A cluster that is not listed is added to them, and every other
    byte of the file stays. All of it is tried first, shown, and asked about. Run it again at any time.

    **Look first:** `kube-mcp-gateway onboard --context kind-east --dry-run`

    **Six clusters, for Ada:** `kube-mcp-gateway onboard --context east --context west … --person ada`

    **Undo:** `kube-mcp-gateway onboard --context kind-east --remove`
    """
    from gateway.cli.onboarding import Words, run  # noqa: PLC0415

    run(
        Words(
            contexts=tuple(context),
            config=config,
            kubeconfig=kubeconfig,
            role=role.value,
            person=person,
            service_account=service_account,
            minter=minter,
            gateway=gateway,
            yes=yes,
            dry_run=dry_run,
            remove=remove,
        )
    )


class Format(StrEnum):
    """How `check` shows what it found."""

    TABLE = "table"
    JSON = "json"


def check(
    *,
    config: Config = None,
    token_file: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="A token to examine, - for standard input; its first audience says where. Repeatable.  "
            "[default: the variable KUBE_MCP_GATEWAY_TOKEN]",
        ),
    ] = None,
    output: Annotated[Format, typer.Option(help="A table for people, or JSON.")] = Format.TABLE,
) -> None:
    """Look for what is wrong: settings, then every cluster's network, certificate, version and keys, all at once.

    With a token, each of its claims too: why the gateway would refuse it, how to mint a right one, and where its RBAC
    is wider than the cluster's policy. The status is 0 when all is well, 1 when anything is wrong, 2 for mistakes in
    the settings.

    **With a token:** `kube-mcp-gateway token east --config gateway.yaml | kube-mcp-gateway check --config gateway.yaml
    --token-file -`
    """
    from gateway.cli.doctor import run  # noqa: PLC0415

    if not run(config, token_file or (), os.environ.get("KUBE_MCP_GATEWAY_TOKEN"), as_json=output is Format.JSON):
        raise typer.Exit(1)


def add_commands(app: typer.Typer) -> None:
    """Add these commands to the program's."""
    app.command()(onboard)
    app.command()(token)
    app.command()(check)
