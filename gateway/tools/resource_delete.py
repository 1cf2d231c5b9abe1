"""The tool `resource_delete`: one named object, confirmed, and only while it is still the object that was confirmed."""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import Field

from gateway.access.confirmation import Confirmation, Proposal, WouldFail
from gateway.access.session import ClusterSession
from gateway.errors import GatewayError
from gateway.kube.errors import Conflict
from gateway.kube.request import DRY_RUN, Request
from gateway.kube.types import ResourceType
from gateway.redaction.visible import visible
from gateway.tools.applying import words
from gateway.tools.naming import namespace_of, resource_type
from gateway.tools.pods import check_identity
from gateway.tools.shaping import parse
from gateway.tools.targets import CRD, NAMESPACE
from gateway.tools.tool import Arguments, Tool

NAME: Final = "resource_delete"
Propagation = Literal["Background", "Foreground", "Orphan"]
_GOES_WITH: Final = {
    NAMESPACE: "EVERYTHING IN THE NAMESPACE IS DELETED WITH IT.",
    CRD: "ALL OBJECTS OF THIS KIND, IN ALL NAMESPACES, ARE DELETED WITH IT.",
}
_DEPENDENTS: Final = {
    "Background": "What it owns (such as a Deployment's pods) is deleted after it.",
    "Foreground": "What it owns (such as a Deployment's pods) is deleted before it.",
    "Orphan": "What it owns stays, without an owner.",
}


class DeleteArguments(Arguments):
    """Arguments of `resource_delete`."""

    resource: Annotated[str, Field(description="kind, plural, short name, or plural.group")]
    name: str
    namespace: str | None = None
    propagation_policy: Annotated[Propagation, Field(description="what happens to what it owns")] = "Background"
    plan: Annotated[str | None, Field(description="from the first call, if it gave one")] = None


@dataclass(frozen=True, slots=True)
class DeleteTool:
    """`resource_delete` with what confirms it."""

    confirmation: Confirmation

    async def run(self, session: ClusterSession, arguments: DeleteArguments) -> str:
        """Find the object, try its deletion, and delete it after a word for just this object."""
        kind = await resource_type(session, arguments.resource)
        namespace = await namespace_of(session, kind, arguments.name, arguments.namespace)
        found = await parse((await session.request(_request("get", kind, namespace, arguments.name), kind)).body)
        check_identity(found)
        metadata = found["metadata"]
        uid = metadata["uid"]
        await delete(session, kind, found, arguments.propagation_policy, dry_run=True)
        named = f"{kind.kind} {namespace + '/' if namespace else ''}{visible(metadata['name'])}"
        consequences = _consequences(kind, metadata, arguments.propagation_policy)
        proposal = Proposal(
            NAME,
            asked=orjson.dumps([kind.qualified, namespace, arguments.name, arguments.propagation_policy]).decode(),
            met=uid,
            message=f"delete {named}, created {metadata.get('creationTimestamp')}? {consequences}",
            done="deleted",
            always=True,
        )
        verdict = await self.confirmation.ask(session, proposal, arguments.plan)
        where = f"cluster {session.cluster.shown}"
        if not verdict.go:
            return f"{where} · nothing deleted; would be {named}\n{consequences}\n{verdict.text}"
        answer = await delete(session, kind, found, arguments.propagation_policy, dry_run=False)
        if (kind.group, kind.plural) == CRD:
            session.renew_catalog()
        left = answer.get("metadata") if answer.get("kind") != "Status" else None
        if left and left.get("deletionTimestamp"):
            finalizers = ", ".join(left.get("finalizers") or ()) or "its grace period"
            return f"{where} · being deleted: {named}, uid {uid}; waits for {finalizers}"
        return f"{where} · deleted: {named}, uid {uid}"


def _request(verb: Literal["get", "delete"], kind: ResourceType, namespace: str, name: str, **more: Any) -> Request:
    return Request(
        verb=verb, group=kind.group, version=kind.version, resource=kind.plural, namespace=namespace, name=name, **more
    )


def _consequences(kind: ResourceType, metadata: dict[str, Any], propagation: Propagation) -> str:
    finalizers = metadata.get("finalizers") or ()
    waits = f" It stays until these finalizers are gone: {', '.join(finalizers)}." if finalizers else ""
    return _GOES_WITH.get((kind.group, kind.plural), _DEPENDENTS[propagation]) + waits


async def delete(
    session: ClusterSession, kind: ResourceType, found: dict[str, Any], propagation: Propagation, *, dry_run: bool
) -> dict[str, Any]:
    """Delete the object if it still has the uid that was found.

    Raises:
        WouldFail: The API server refuses it.
    """
    metadata = found["metadata"]
    options = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": metadata["uid"]},
        "propagationPolicy": propagation,
        **({"dryRun": ["All"]} if dry_run else {}),
    }
    # The API server goes by the body; the parameter tells whoever reads requests.
    more = {"query": (DRY_RUN,) if dry_run else (), "body": orjson.dumps(options)}
    request = _request("delete", kind, metadata.get("namespace") or "", metadata["name"], **more)
    try:
        answer = await session.request(request, kind)
    except Conflict as error:
        message = f"Nothing was deleted: another object has this name by now ({words(error)}). Call again."
        raise WouldFail(message) from error
    try:
        return await parse(answer.body)
    except GatewayError:
        # Its status has said that it is done.
        return {}


def tool(confirmation: Confirmation) -> Tool[DeleteArguments]:
    """Make the tool; `confirmation` decides what may be deleted."""
    return Tool(
        name=NAME,
        title="Delete a resource",
        description="Deletes one named object after confirmation.",
        arguments=DeleteArguments,
        run=DeleteTool(confirmation).run,
        rate="writes",
        needs="delete",
        read_only=False,
        destructive=True,
    )
