"""Boundary between a cluster that was just onboarded and one real call to it, through a gateway."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any, Final

from gateway.admin import bind
from gateway.admin.options import AdminOptions
from gateway.app import create_app
from gateway.cli.calling import called
from gateway.cli.serve import serve_app
from gateway.clusters.options import ClusterOptions
from gateway.edge.options import ListenOptions
from gateway.errors import GatewayError
from gateway.operator.server import Server
from gateway.operator.tokens import SHORTEST, default_audience, mint_at
from gateway.policy.rules import kind_is_offered
from gateway.settings import Settings
from gateway.telemetry.logs import LogOptions, configure_logging

_PATIENCE: Final = 15.0
_AGAIN: Final = 1.0
"""Seconds that a cluster's roles and a running gateway's settings may take to be in force, and between two tries."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One cluster to be called, and with whose token."""

    name: str
    server: Server
    service_account: str
    audience: str | None
    cluster: ClusterOptions


async def call_each(settings: Settings, trials: Sequence[Trial], url: str | None) -> list[tuple[str, bool]]:
    """Call each cluster once, through the gateway at this URL or one of its own; return what came of each."""
    answers: list[tuple[str, bool]] = []

    async def visit(endpoint: str) -> None:
        answers.extend(await asyncio.gather(*(_call(settings.audience, trial, endpoint) for trial in trials)))

    if url is not None:
        await visit(url.rstrip("/"))
        return answers
    update = {"listen": ListenOptions(host="127.0.0.1", port=0), "admin": AdminOptions(port=0), "shared_store": None}
    alone = settings.model_copy(update=update)
    # What a call came to is told by its answer.
    configure_logging(LogOptions(level="error"), StringIO())
    sock = bind("127.0.0.1", 0, otherwise="free one")
    await serve_app(create_app(alone), alone, sock, visit=visit)
    return answers


async def _call(audience: str, trial: Trial, endpoint: str) -> tuple[str, bool]:
    try:
        third = trial.audience or await default_audience(trial.server, trial.service_account) or ""
        audiences = (trial.cluster.server, audience, third)
        minted = await mint_at(trial.server, trial.service_account, audiences, SHORTEST)
        tool, arguments = _question(trial.cluster)
        async with asyncio.timeout(_PATIENCE):
            return _first_line(await _insisting(f"{endpoint}/{trial.name}", minted.token, tool, arguments)), True
    except TimeoutError as error:
        return str(error.__cause__ or "no answer in time"), False
    except GatewayError as error:
        return _first_line(error.message), False


async def _insisting(url: str, token: str, tool: str, arguments: dict[str, Any]) -> str:
    loop = asyncio.get_running_loop()
    until = loop.time() + _PATIENCE - 2 * _AGAIN
    while True:
        try:
            return await called(url, token, tool, arguments)
        except GatewayError:
            if loop.time() >= until:
                raise
        await asyncio.sleep(_AGAIN)


def _question(cluster: ClusterOptions) -> tuple[str, dict[str, Any]]:
    """Return a call that the policy allows: the pods of one namespace, or what there is."""
    rules = cluster.policy.namespaces
    if not kind_is_offered(cluster.policy, "", "pods"):
        return "resource_types", {}
    namespace = sorted(rules.allow - rules.deny)[:1] or (["default"] if rules.deny else [])
    where = {"namespace": namespace[0]} if namespace else {}
    return "resource_list", {"resource": "pods", "limit": 1, **where}


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "an empty answer"
