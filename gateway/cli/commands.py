"""Boundary between words on the command line and the commands' code, which is imported only when its command runs."""

import gc
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from typer.main import get_command

from gateway import __version__
from gateway.cli.clusters import listed
from gateway.cli.connecting import connect
from gateway.cli.words import add_commands
from gateway.errors import GatewayError

PROGRAM: Final = "kube-mcp-gateway"
_TRUTHS: Final = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}

app = typer.Typer(
    name=PROGRAM,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    *,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """One MCP endpoint through which AI agents work with many Kubernetes clusters, each with its caller's own token."""


@app.command()
def serve(
    *,
    config: Annotated[
        Path | None,
        typer.Option(help="Settings (YAML). What it leaves out has a default.", envvar="KUBE_MCP_GATEWAY_CONFIG"),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address agents call. Beyond loopback it needs TLS.  [default: 127.0.0.1]")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port agents call; 0 takes a free one.  [default: 8080]")] = None,
    audience: Annotated[
        str | None, typer.Option(help="The gateway's own audience, each token's second.  [default: k-mcp]")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.  [default: info]")] = None,
    cluster: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Serve this cluster, beside those of the file: its API server's URL as tokens name it. Repeatable.",
            rich_help_panel="Clusters without a file",
        ),
    ] = None,
    certificate_authority: Annotated[
        Path | None,
        typer.Option(
            help="CA bundle (PEM) of every --cluster.  [default: the system's]",
            rich_help_panel="Clusters without a file",
        ),
    ] = None,
    tls_server_name: Annotated[
        str | None,
        typer.Option(
            help="Name in the certificate of every --cluster, where the URL has another.",
            rich_help_panel="Clusters without a file",
        ),
    ] = None,
    serve_resources: Annotated[
        bool | None,
        typer.Option(
            "--serve-resources/--no-serve-resources",
            help="List every object as an MCP resource. Reading by URI works always.  [default: no]",
            show_default=False,
        ),
    ] = None,
    enable_rate_limiting: Annotated[
        bool | None,
        typer.Option(
            "--enable-rate-limiting/--no-enable-rate-limiting",
            help="Limit how often a caller may call a cluster in a minute.  [default: on]",
        ),
    ] = None,
    read_write: Annotated[
        bool,
        typer.Option(
            "--read-write/--no-read-write",
            help="Let callers of every --cluster apply manifests, run commands in pods and evict pods. Never delete.",
            rich_help_panel="Clusters without a file",
            show_default=False,
        ),
    ] = False,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure/--no-insecure",
            help="Do not verify the certificate of any --cluster: whoever is in between reads every token.",
            rich_help_panel="Clusters without a file",
            show_default=False,
        ),
    ] = False,
) -> None:
    """Serve MCP at http://HOST:PORT/mcp until SIGTERM or Ctrl-C.

    A caller's Bearer token names its cluster: its three audiences are the API server's URL, the gateway's audience, and
    the cluster's own. Only listed clusters are ever called.

    **With a file:** `kube-mcp-gateway serve --config gateway.yaml`

    **Without:** `kube-mcp-gateway serve --cluster https://127.0.0.1:6443 --certificate-authority ca.crt`

    Clusters, policies and limits that change in the file are taken up; SIGHUP has it read now.

    A flag wins over the environment, that over the file. Each setting has a variable: `listen.drainSeconds` in the file
    is `KUBE_MCP_GATEWAY_LISTEN__DRAIN_SECONDS`; lists are JSON.
    """
    if not cluster and (certificate_authority or tls_server_name or insecure or read_write):
        raise typer.BadParameter(
            "it is about every --cluster, and no --cluster is given; in a file it is a setting of each cluster",
            param_hint=_cluster_flag(certificate_authority, tls_server_name, insecure=insecure),
        )
    overrides = {
        "audience": audience,
        "listen": {"host": host, "port": port},
        "log": {"level": log_level},
        "rateLimiting": enable_rate_limiting,
        "serveResources": serve_resources,
        "clusters": listed(
            cluster or (), certificate_authority, tls_server_name, insecure=insecure, read_write=read_write
        ),
    }
    # Imported here, because help and mistakes in words should not wait for what only serving needs.
    # Until it serves, next to nothing becomes garbage, and looking for it would take a fifth of the time to start.
    gc.disable()
    try:
        from gateway.cli.serve import run  # noqa: PLC0415

        run(config, overrides)
    finally:
        gc.enable()


@app.command()
def demo(
    *,
    port: Annotated[int, typer.Option(help="Port agents call; 0 takes a free one.", min=0, max=65535)] = 0,
    once: Annotated[bool, typer.Option("--once", help="Show a short tour and end.")] = False,
    call: Annotated[
        tuple[str, str, str] | None,
        typer.Option(
            metavar="CLUSTER TOOL JSON",
            help='Make one call and print its answer: --call east resource_list \'{"resource": "pods"}\'',
        ),
    ] = None,
) -> None:
    """Try it without a cluster: two embedded ones, `east` and `west`, with a shop of which several parts are broken.

    Prints an `mcp.json` for your client, and serves until Ctrl-C. Nothing is written to disk.

    **A tour:** `kube-mcp-gateway demo --once`
    """
    from gateway.cli.demo import run  # noqa: PLC0415  # it brings the embedded clusters along

    run(port, once=once, call=call)


add_commands(app)
app.command()(connect)


def _cluster_flag(certificate_authority: Path | None, tls_server_name: str | None, *, insecure: bool) -> str:
    if certificate_authority:
        return "--certificate-authority"
    if tls_server_name:
        return "--tls-server-name"
    return "--insecure" if insecure else "--read-write"


def spelled_out(arguments: Sequence[str], switches: Iterable[str]) -> list[str]:
    """Replace `--switch=true` by `--switch` and `--switch=false` by `--no-switch`; leave everything else."""
    known = frozenset(switches)
    words = []
    for argument in arguments:
        switch, given, value = argument.partition("=")
        truth = _TRUTHS.get(value.lower()) if given and switch in known else None
        words.append(argument if truth is None else f"--{'' if truth else 'no-'}{switch.removeprefix('--')}")
    return words


def main() -> None:
    """Run the command line of this process; end with status 2 for wrong words or settings, 1 for other failures."""
    commands = getattr(get_command(app), "commands", {})
    switches = {
        flag
        for command in commands.values()
        for option in command.params
        if option.secondary_opts
        for flag in option.opts
    }
    try:
        app(args=spelled_out(sys.argv[1:], switches), prog_name=PROGRAM)
    except GatewayError as error:
        typer.echo(f"{PROGRAM}: {error.message}", err=True)
        sys.exit(2 if error.outcome == "bad_settings" else 1)
