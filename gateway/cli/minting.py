"""Boundary between `token` on the command line and a new token, or a client's entry that asks for one."""

import asyncio
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.cli.entries import Wanted, entry_text
from gateway.cli.listing import Target, target
from gateway.errors import BadArgument, GatewayError
from gateway.operator.naming import account, label
from gateway.operator.server import connected
from gateway.operator.tokens import Minted, default_audience, mint_at

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}
_SHORTEST: Final = 600


@dataclass(frozen=True, slots=True)
class Words:
    """What was typed after `token`, unset where it was not."""

    cluster: str | None
    config: Path | None
    context: str | None
    kubeconfig: Path | None
    service_account: str | None
    audience: str | None
    duration: str
    output: str
    url: str


def seconds_of(duration: str) -> int:
    """Read `24h`, `90m`, `7d`, or a number of seconds.

    Raises:
        BadArgument: It is none of these, or under ten minutes, which Kubernetes refuses.
    """
    parts = re.fullmatch(r"([0-9]{1,9})([smhd]?)", duration)
    if parts is None:
        raise BadArgument(f"A duration is a number and a unit, such as 24h, 90m or 7d; found {duration!r}.")
    seconds = int(parts[1]) * _UNITS[parts[2]]
    if seconds < _SHORTEST:
        raise BadArgument(f"Kubernetes makes no token for less than 10 minutes; found {duration!r}.")
    return seconds


def run(words: Words) -> None:
    """Print a new token, its header, or an entry for a client; anything else to say goes to standard error.

    Raises:
        GatewayError: It can't be made; the text says why.
    """
    seconds = seconds_of(words.duration)
    found = target(words.config, words.cluster, words.kubeconfig, words.context, words.audience)
    service_account = account(words.service_account)
    if words.output not in ("token", "header"):
        text, advice = entry_text(words.output, _wanted(words, found))
        _print(text, advice)
        return
    minted = asyncio.run(mint_for(found, service_account, seconds))
    note = ""
    if minted.shortened:
        until = datetime.fromtimestamp(minted.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        note = f"The cluster shortened the token's lifetime: it expires at {until}, not after {words.duration}."
    header = json.dumps({"Authorization": f"Bearer {minted.token}"})
    _print(header if words.output == "header" else minted.token, note)


async def mint_for(found: Target, service_account: str, seconds: int) -> Minted:
    """Mint a token that leads to this cluster through the gateway.

    Raises:
        GatewayError: It can't be made; the text says why.
    """
    async with connected(found.context) as server:
        third = found.default_audience or await default_audience(server, service_account)
        if third is None:
            raise GatewayError(
                f"There is no service account {service_account} on {found.name}. "
                f"Make it with: kube-mcp-gateway onboard --context {found.context.name}"
            )
        return await mint_at(server, service_account, (found.server, found.audience, third), seconds)


def _wanted(words: Words, found: Target) -> Wanted:
    token: list[str] = ["kube-mcp-gateway", "token"]
    token += [words.cluster] if words.cluster else []
    given: Sequence[tuple[str, object]] = (
        ("--config", words.config and words.config.absolute()),
        ("--context", words.context if words.cluster or words.context else found.context.name),
        ("--kubeconfig", words.kubeconfig and words.kubeconfig.absolute()),
        ("--service-account", words.service_account),
        ("--audience", words.audience),
    )
    token += [str(word) for flag, value in given if value for word in (flag, value)]
    context = found.context.name
    connect = ["kube-mcp-gateway", "connect", "--url", words.url]
    connect += ["--context", context if label(context) == found.name else f"{found.name}={context}"]
    connect += [str(word) for flag, value in given[2:] if value for word in (flag, value)]
    return Wanted(found.name, words.url, token, connect)


def _print(text: str, note: str) -> None:
    if note:
        sys.stderr.write(f"{note}\n")
    sys.stdout.write(f"{text}\n")
