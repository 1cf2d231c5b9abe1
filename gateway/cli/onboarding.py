"""Boundary between `onboard` on the command line and the clusters, settings and gateway it brings together.

Everything is looked at and tried before anything is written. What fails half-way on a cluster is taken back there, and
what could not be taken back is named.
"""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import typer
import yaml

from gateway.cli.plans import Plan, completed, entry_of, plan_for, removal_for
from gateway.cli.trial import Trial, call_each
from gateway.errors import BadArgument, GatewayError
from gateway.operator.kubeconfig import Context, read_context
from gateway.operator.naming import account, label
from gateway.operator.objects import Step, carried_out, title, undoing
from gateway.operator.roles import ROLES, shipped
from gateway.operator.server import connected
from gateway.settings import Settings, load_settings
from gateway.settings.editing import checked_settings, with_cluster, without_cluster, write_settings

_SIGNS: Final = {"create": "+", "change": "~", "delete": "-"}
_COLOURS: Final = {"create": typer.colors.GREEN, "change": typer.colors.YELLOW, "delete": typer.colors.RED}


@dataclass(frozen=True, slots=True)
class Words:
    """What was typed after `onboard`, unset where it was not."""

    contexts: tuple[str, ...]
    config: Path
    kubeconfig: Path | None
    role: str
    person: str | None
    service_account: str | None
    minter: str | None
    gateway: str | None
    yes: bool
    dry_run: bool
    remove: bool


def run(words: Words) -> None:
    """Bring the clusters behind the gateway, or take them away again.

    Raises:
        GatewayError: It was not done; the text says what stands, which is nothing unless it says otherwise.
    """
    if words.role not in ROLES:
        raise BadArgument(f"There is no role {words.role!r}; there are {', '.join(ROLES)}.")
    service_account = account(words.service_account, words.person)
    contexts = _contexts(words)
    text = _text(words.config)
    settings = checked_settings(words.config, text)
    asyncio.run(_run(words, service_account, contexts, text, settings))


async def _run(
    words: Words, service_account: str, contexts: dict[str, Context], text: str, settings: Settings | None
) -> None:
    async with AsyncExitStack() as stack:
        _say(f"Looking at {_counted(len(contexts), 'cluster')} …", err=True)

        async def planned(name: str, context: Context) -> Plan:
            server = await stack.enter_async_context(connected(context))
            if words.remove:
                return await removal_for(server, settings, service_account)
            return await plan_for(server, settings, name, shipped(words.role), service_account, minter=words.minter)

        plans = await _all(contexts, [planned(name, context) for name, context in contexts.items()])
        changed = _changed(text, plans)
        if changed != text:
            checked_settings(words.config, changed)
        for plan in plans:
            _show(plan, words.config)
        if words.dry_run:
            _print_manifests(plans)
            return
        if any(plan.changes for plan in plans):
            _agree(words)
        done = await _carry_out(plans)
        failed = [plan for plan, error in zip(plans, done, strict=True) if error is not None]
        stood = [await completed(plan, service_account) for plan in plans if plan not in failed]
        _write(words.config, text, stood)
        if failed:
            lines = [f"{plan.name}: {error}" for plan, error in zip(plans, done, strict=True) if error is not None]
            rest = f" {', '.join(plan.name for plan in stood)} is done." if stood else " Nothing was changed."
            raise GatewayError(f"{'; '.join(lines)}.{rest}")
        if words.remove:
            _say("Removed. Tokens that were minted before are refused within a minute.")
            return
        await _call(words, stood, service_account)


def _contexts(words: Words) -> dict[str, Context]:
    """Return the contexts by the name their cluster gets: given as NAME=CONTEXT, or made from the context's."""
    found: dict[str, Context] = {}
    for word in words.contexts:
        name, given, rest = word.partition("=")
        context = read_context(words.kubeconfig, rest if given else word)
        name = label(name if given else context.name)
        if name in found:
            raise BadArgument(f"Two clusters would be called {name!r}; name one with --context OTHER={context.name}.")
        found[name] = context
    return found


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        if file.parent.is_dir():
            return ""
        raise GatewayError(f"There is no folder {file.parent} for the settings.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise GatewayError(f"The settings {file} can't be read: {getattr(error, 'strerror', error)}.") from error


async def _all(contexts: dict[str, Context], planning: Sequence[Any]) -> list[Plan]:
    """Plan for all at once; what is wrong with several is told together."""
    found = await asyncio.gather(*planning, return_exceptions=True)
    wrong = []
    for context, one in zip(contexts.values(), found, strict=True):
        if isinstance(one, GatewayError):
            wrong.append(f"context {context.name!r}: {' '.join(one.message.split()).rstrip('.')}")
        elif isinstance(one, BaseException):
            raise one
    if wrong:
        raise GatewayError(f"Nothing was changed. {'; '.join(wrong)}.")
    return [one for one in found if isinstance(one, Plan)]


def _changed(text: str, plans: Sequence[Plan]) -> str:
    for plan in plans:
        if plan.unlist:
            text = without_cluster(text, plan.name)
        elif plan.entry is not None:
            text = with_cluster(text, plan.entry)
    return text


def _show(plan: Plan, file: Path) -> None:
    _say(f"\n{plan.name} · {plan.server.context.server} · context {plan.server.context.name}", bold=True)
    for note in plan.notes:
        _say(f"  ! {note}", fg=typer.colors.YELLOW)
    for step in plan.steps:
        if step.action != "keep":
            _say(f"  {_SIGNS[step.action]} {step}", fg=_COLOURS[step.action])
    kept = sum(step.action == "keep" for step in plan.steps)
    if kept:
        _say(f"    {_counted(kept, 'object')} as it should be already")
    if plan.entry is not None:
        _say(f"  + add {plan.name} to {file}", fg=typer.colors.GREEN)
    if plan.unlist:
        _say(f"  - remove {plan.name} from {file}", fg=typer.colors.RED)


def _print_manifests(plans: Sequence[Plan]) -> None:
    """Print what would be made, for whoever keeps it in a repository instead."""
    for plan in plans:
        wanted = [step.manifest for step in plan.steps if step.action in ("create", "change")]
        sys.stdout.write(f"\n# {plan.name}\n{yaml.safe_dump_all(wanted, sort_keys=False)}" if wanted else "")
        if plan.entry is not None:
            sys.stdout.write(f"\n# settings\n{with_cluster('', plan.entry)}")
    _say("\nNothing was changed (--dry-run).", err=True)


def _agree(words: Words) -> None:
    if words.yes:
        return
    if not sys.stdin.isatty():
        raise GatewayError("Nothing was changed: nobody can be asked here. Say --yes to do it, or --dry-run to look.")
    if not typer.confirm("\nDo this?", err=True):
        raise GatewayError("Nothing was changed.")


async def _carry_out(plans: Sequence[Plan]) -> list[str | None]:
    """Carry out all plans at once; return for each what went wrong, having taken back what was made there."""
    return list(await asyncio.gather(*(_carry_out_one(plan) for plan in plans)))


async def _carry_out_one(plan: Plan) -> str | None:
    done: list[Step] = []
    try:
        await carried_out(plan.server, plan.steps, done)
    except GatewayError as error:
        stands = await asyncio.shield(_taken_back(plan, done))
        return f"{' '.join(error.message.split()).rstrip('.')}{stands}"
    except asyncio.CancelledError:
        _say(f"{plan.name}: interrupted{await asyncio.shield(_taken_back(plan, done))}", err=True)
        raise
    return None


async def _taken_back(plan: Plan, done: list[Step]) -> str:
    """Take back what was made; return what could not be, to be told."""
    back: list[Step] = []
    try:
        await carried_out(plan.server, undoing(done), back)
    except GatewayError as error:
        left = [title(step.manifest) for step in undoing(done)[len(back) :]]
        return f"; it could not be taken back ({error.message.rstrip('.')}), so there stand {', '.join(left)}"
    changed = [title(step.manifest) for step in done if step.action != "create"]
    return (
        f"; what was made was taken back, but for {', '.join(changed)}" if changed else "; what was made was taken back"
    )


def _write(file: Path, before: str, plans: Sequence[Plan]) -> None:
    changed = _changed(before, plans)
    if changed == before:
        return
    try:
        # Meanwhile somebody may have written it, and what they wrote stays.
        write_settings(file, _changed(_text(file), plans))
    except GatewayError as error:
        names = ", ".join(plan.name for plan in plans)
        raise GatewayError(
            f"{error.message.rstrip('.')}. What was made on {names} stands; the same command again adds it there."
        ) from error


async def _call(words: Words, plans: Sequence[Plan], service_account: str) -> None:
    settings = load_settings(words.config)
    trials = [Trial(plan.name, plan.server, service_account, plan.audience, entry_of(settings, plan)) for plan in plans]
    answers = await call_each(settings, trials, words.gateway)
    failed = []
    for trial, (text, ok) in zip(trials, answers, strict=True):
        _say(f"{'✓' if ok else '✗'} {trial.name}: {text}", fg=typer.colors.GREEN if ok else typer.colors.RED)
        failed += [] if ok else [trial.name]
    if failed:
        raise GatewayError(f"Everything was made and stands, but no call came through to {', '.join(failed)}.")
    flag = f" --service-account {service_account}" if words.service_account or words.person else ""
    token = f"kube-mcp-gateway token {plans[0].name} --config {words.config}{flag}"
    _say(f"\nA client's entry:  {token} --output claude-code")
    if words.gateway is None:
        _say(f"The gateway:       kube-mcp-gateway serve --config {words.config}")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _say(text: str, *, fg: str | None = None, bold: bool = False, err: bool = False) -> None:
    typer.secho(text, fg=fg, bold=bold, err=err)
