"""The tool `resource_post`: what acts through a subresource; a command in a container, and a pod's eviction."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

import orjson
from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema

from gateway.access.confirmation import Confirmation, Proposal
from gateway.access.session import ClusterSession
from gateway.errors import BadArgument, GatewayError
from gateway.kube.errors import Conflict, Throttled
from gateway.kube.request import DRY_RUN, Request
from gateway.tools.naming import namespace_of, resource_type, shown
from gateway.tools.pods import PodRef, pod_of, read_pod
from gateway.tools.running import MOST_SECONDS, ExecBody, run_command
from gateway.tools.shaping import as_json
from gateway.tools.tool import Arguments, Tool

NAME: Final = "resource_post"
_AROUND: Final = 40.0
"""Seconds for finding the pod, starting a command, twice where the container has no shell, and ending it."""
_DRY_RUN: Final = (DRY_RUN,)


def _object(given: object) -> object:
    """Take an object that was sent as its own JSON text, as some clients do."""
    if isinstance(given, str) and given.lstrip().startswith("{"):
        try:
            return orjson.loads(given)
        except orjson.JSONDecodeError:
            return given
    return given


Body = Annotated[dict[str, Any], BeforeValidator(_object), WithJsonSchema({"type": "object"})]


class PostArguments(Arguments):
    """Arguments of `resource_post`."""

    resource: Annotated[str, Field(description="pods, or a workload (exec: its newest running pod)")]
    name: str
    namespace: str | None = None
    subresource: Annotated[str, Field(description="exec or eviction")]
    body: Annotated[
        Body,
        Field(
            default_factory=dict,
            description="exec: {command: list or shell line, container, timeout: seconds}; eviction: {}",
        ),
    ]
    parameters: Annotated[Body, Field(default_factory=dict, description="such as {dryRun: All}")]
    plan: Annotated[str | None, Field(description="from the first call, if it gave one")] = None


class NotEvicted(GatewayError):
    """The pod was not evicted; the text says why."""

    outcome = "not_evicted"


@dataclass(frozen=True, slots=True)
class PostTool:
    """`resource_post` with what confirms it."""

    confirmation: Confirmation

    async def run(self, session: ClusterSession, arguments: PostArguments) -> str:
        """Do what the subresource stands for, after the word that the policy wants."""
        kind = await resource_type(session, arguments.resource)
        namespace = await namespace_of(session, kind, arguments.name, arguments.namespace)
        match arguments.subresource.lower():
            case "exec":
                body = _exec_body({**arguments.parameters, **arguments.body})
                pod = await pod_of(session, kind, namespace, arguments.name, running=True)
                return await run_command(session, self.confirmation, pod, body, arguments.plan)
            case "eviction" if (kind.group, kind.plural) == ("", "pods"):
                return await self._evict(session, PodRef(kind, namespace, arguments.name), arguments)
            case subresource:
                raise BadArgument(
                    f"Nothing is posted to {shown(subresource)!r} of {kind.plural}: it takes exec, for pods and "
                    "workloads, and eviction, for pods. Objects are written with resource_apply."
                )

    async def _evict(self, session: ClusterSession, pod: PodRef, arguments: PostArguments) -> str:
        options = _delete_options(arguments)
        only_tried = bool(options.pop("dryRun", None))
        session.judge(_eviction(pod, options), pod.kind)
        metadata = (await read_pod(session, pod))["metadata"]
        uid = str(metadata.get("uid") or "")
        options["preconditions"] = held_to(options.get("preconditions", {}), uid)
        named = f"pod {pod.namespace}/{pod.name}"
        await _send(session, pod, _eviction(pod, options, dry_run=True))
        where = f"cluster {session.cluster.shown}"
        if only_tried:
            return f"{where} · nothing evicted: a dry run; the disruption budgets would allow evicting {named} now"
        owner = next((ref for ref in metadata.get("ownerReferences") or () if ref.get("controller")), None)
        follows = (
            f"{owner['kind']} {owner['name']} starts another" if owner else "NOTHING STARTS ANOTHER: no controller"
        )
        verdict = await self.confirmation.ask(
            session,
            Proposal(
                NAME,
                asked=as_json(["eviction", pod.namespace, pod.name, options]),
                met=uid,
                message=f"evict {named}? It is deleted, as its disruption budgets allow now. {follows}.",
                done="evicted",
            ),
            arguments.plan,
        )
        if not verdict.go:
            return f"{where} · nothing evicted; would be {named}; {follows}\n{verdict.text}"
        await _send(session, pod, _eviction(pod, options))
        return f"{where} · evicted {named}, uid {uid}: it ends within its grace period; {follows}"


def _exec_body(given: dict[str, Any]) -> ExecBody:
    try:
        return ExecBody.model_validate(given)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[:5]
        problems = "; ".join(f"{detail['loc'][0] if detail['loc'] else 'body'}: {detail['msg']}" for detail in found)
        raise BadArgument(
            f"Bad body for exec: {problems}. It takes command (a list of words or a shell line), container, timeout."
        ) from error


def _delete_options(arguments: PostArguments) -> dict[str, Any]:
    """Return the DeleteOptions of an eviction, given as a whole Eviction, as its options, or not at all."""
    body = {**arguments.parameters, **arguments.body}
    metadata = body.pop("metadata", None) or {}
    for key in ("apiVersion", "kind"):
        body.pop(key, None)
    nested = body.pop("deleteOptions", None) or {}
    if not isinstance(nested, dict) or not isinstance(metadata, dict):
        raise BadArgument("deleteOptions, preconditions and metadata are objects. An empty body is enough.")
    if metadata.get("name", arguments.name) != arguments.name:
        raise BadArgument("The body names another pod than `name` does. An empty body is enough.")
    options = {**nested, **body}
    if not isinstance(options.get("preconditions", {}), dict):
        raise BadArgument("preconditions of an eviction are an object, such as {uid: ...}. An empty body is enough.")
    if unknown := options.keys() - {"apiVersion", "kind", "gracePeriodSeconds", "preconditions", "dryRun"}:
        raise BadArgument(
            f"An eviction takes gracePeriodSeconds, preconditions and dryRun, not {', '.join(sorted(unknown))[:200]}."
        )
    return options


def held_to(preconditions: dict[str, Any], uid: str) -> dict[str, Any]:
    """Return preconditions that always name a uid, the caller's or else this: it is the confirmed pod that goes."""
    return {**preconditions, "uid": preconditions.get("uid") or uid}


def _eviction(pod: PodRef, options: dict[str, Any], *, dry_run: bool = False) -> Request:
    """Build an eviction (policy/v1)."""
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
        "deleteOptions": options,
    }
    return Request(
        verb="create",
        group="",
        version="v1",
        resource="pods",
        namespace=pod.namespace,
        name=pod.name,
        subresource="eviction",
        query=_DRY_RUN if dry_run else (),
        body=orjson.dumps(eviction),
    )


async def _send(session: ClusterSession, pod: PodRef, request: Request) -> None:
    """Send an eviction, or try it.

    Raises:
        NotEvicted: A disruption budget forbids it now.
        Unclear: It may have happened.
    """
    named = f"pod {pod.namespace}/{pod.name}"
    try:
        await session.request(request, pod.kind)
    except Throttled as error:
        if "disruption budget" not in error.message:
            raise
        budgets = "; ".join(cause.message for cause in error.causes if cause.reason == "DisruptionBudget")
        raise NotEvicted(
            f"Not evicted: a PodDisruptionBudget allows no disruption of {named} now. {budgets or error.message}. Wait "
            "until more of its pods are ready, or ask a person to add replicas or change the budget."
        ) from error
    except Conflict as error:
        said = error.message.rstrip(". \n")
        raise NotEvicted(f"Not evicted: {named} is not the same any more ({said}). Call again.") from error


def tool(confirmation: Confirmation) -> Tool[PostArguments]:
    """Make the tool; `confirmation` decides what may be done."""
    return Tool(
        name=NAME,
        title="Run a command in a pod, or evict one",
        description=f"Runs a command in a container (exec, at most {MOST_SECONDS:g} s), or evicts a pod.",
        arguments=PostArguments,
        run=PostTool(confirmation).run,
        rate="others",
        needs="post",
        seconds=lambda _arguments: MOST_SECONDS + _AROUND,
        read_only=False,
        destructive=True,
        idempotent=False,
        open_world=True,
    )
