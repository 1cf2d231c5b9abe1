"""Boundary between `check` on the command line and what it finds in settings, clusters and tokens."""

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from gateway.cli.examining import accept, cluster_of, compare, judge
from gateway.cli.findings import Report
from gateway.cli.reaching import ask, reach
from gateway.clusters.options import ClusterOptions
from gateway.clusters.trust import TrustStore
from gateway.errors import BadArgument, GatewayError
from gateway.operator.kubeconfig import Context
from gateway.operator.server import connected
from gateway.settings import Settings, load_settings

_MARKS: Final = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red"), "skip": ("·", "dim")}
_COLUMNS: Final = (("version", "version", 13), ("latency", "latency", 10), ("tls", "certificate", 12))
"""The check, its heading, and its width."""
_NOWHERE: Final = "token"


def run(config: Path | None, token_files: Sequence[str], variable: str | None, *, as_json: bool) -> bool:
    """Look at everything and show it; return whether all is well.

    Raises:
        SettingsError: The settings have mistakes, all of which it names.
        BadArgument: A token can't be read.
    """
    settings = load_settings(config)
    tokens = [_read(file) for file in token_files] or ([variable.strip()] if variable else [])
    console = Console(highlight=False, soft_wrap=True)
    reports = asyncio.run(examined(settings, tokens, None if as_json else console))
    if as_json:
        sys.stdout.write(f"{json.dumps([asdict(report) for report in reports], indent=2)}\n")
    return not any(report.failed for report in reports)


def _read(file: str) -> str:
    try:
        return (sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadArgument(f"The token file {file} can't be read: {getattr(error, 'strerror', error)}.") from error


async def examined(settings: Settings, tokens: Sequence[str], console: Console | None = None) -> list[Report]:
    """Look at every cluster at once, and at each token; show each report as it is done, and return all of them."""
    trust = TrustStore(time.monotonic)
    by_cluster: dict[str, str] = {}
    strangers = []
    for token in tokens:
        cluster = cluster_of(token, settings)
        if cluster is None:
            stranger = Report(_NOWHERE, "")
            judge(token, settings, None, stranger)
            strangers.append(stranger)
        else:
            by_cluster[cluster.name] = token
    width = max((len(cluster.name) for cluster in settings.clusters), default=0)
    if console is not None:
        columns = "".join(f"{heading:<{size}}" for _, heading, size in _COLUMNS)
        console.print(f"  {'cluster':<{width}}  {columns}server", style="bold")
    looking = [asyncio.create_task(_look(cluster, settings, trust, by_cluster)) for cluster in settings.clusters]
    for done in asyncio.as_completed(looking):
        report = await done
        if console is not None:
            _show(report, width, console)
    for stranger in strangers:
        if console is not None:
            _show(stranger, width, console)
    reports = [*(task.result() for task in looking), *strangers]
    skipped = dict.fromkeys(one.check for report in reports for one in report.findings if one.status == "skip")
    if skipped and console is not None:
        console.print(Text(f"  · not asked without a token (--token-file FILE): {', '.join(skipped)}", style="dim"))
    return reports


async def _look(cluster: ClusterOptions, settings: Settings, trust: TrustStore, tokens: Mapping[str, str]) -> Report:
    report = Report(cluster.name, cluster.server)
    known = cluster.default_audience
    report.add(
        "default audience",
        "ok" if known else "warn",
        known or "not in the settings (defaultAudience): any third audience passes, and the cluster alone checks it",
    )
    token = tokens.get(cluster.name)
    good = judge(token, settings, cluster, report) if token else False
    if not await reach(cluster, trust, report):
        return report
    # An API server that is asked with a token it refuses says nothing about anything else.
    user = {"token": token} if token and good else {}
    async with connected(_context(cluster, trust, user), direct=True) as server:
        try:
            async with asyncio.timeout(cluster.limits.call_seconds):
                if user and not await accept(server, cluster, report):
                    return report
                await ask(server, report, with_token=bool(user))
                if user:
                    await compare(server, cluster, report)
        except TimeoutError:
            report.add(
                "answers", "fail", f"it takes longer than {cluster.limits.call_seconds:g} s (limits.callSeconds)"
            )
        except GatewayError as error:
            report.add("answers", "fail", error.message)
    return report


def _context(cluster: ClusterOptions, trust: TrustStore, user: Mapping[str, Any]) -> Context:
    return Context(
        name=cluster.name,
        server=cluster.address or cluster.server,
        ca_pem=trust.bundle(cluster).pem,
        tls_server_name=cluster.tls_server_name,
        insecure=cluster.insecure,
        proxy_url="",
        namespace="default",
        files=(),
        user_folder=Path(),
        cluster={},
        user=user,
    )


def _show(report: Report, width: int, console: Console) -> None:
    mark, colour = _MARKS["fail" if report.failed else "ok"]
    columns = "".join(f"{report.short(check) or '-':<{size}}" for check, _, size in _COLUMNS)
    console.print(Text(f"{mark} ", style=colour), f"{report.cluster:<{width}}  {columns}{report.server}", sep="")
    for finding in report.findings:
        if finding.status in ("warn", "fail") or finding.check.startswith(("token", "rbac")):
            mark, colour = _MARKS[finding.status]
            console.print(Text(f"    {mark} {finding.check}: ", style=colour), Text(finding.detail), sep="")
