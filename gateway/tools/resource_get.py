"""The tool `resource_get`: one object, one of its readable subresources, or a log."""

from typing import Annotated, Final, Literal

from pydantic import Field

from gateway.access.session import ClusterSession
from gateway.errors import BadArgument
from gateway.kube.request import Request
from gateway.kube.types import ResourceType
from gateway.redaction.objects import without_credentials
from gateway.redaction.text import Clean
from gateway.redaction.visible import visible
from gateway.tools.logs import MOST_BYTES, LogParameters, read_log
from gateway.tools.naming import namespace_of, resource_type
from gateway.tools.pods import WORKLOADS
from gateway.tools.shaping import as_json, as_yaml, fitted, parse, trimmed, written
from gateway.tools.tool import Arguments, Tool

_LOGS: Final = frozenset({"log", "logs"})
_LOGGING: Final = WORKLOADS | {("", "pods")}


class GetParameters(LogParameters):
    """What part of a log, or how new an object must at least be (Kubernetes API concepts, "Resource versions")."""

    resource_version: Annotated[str | None, Field(pattern=r"^[0-9]+$", description="of an object, at least")] = None


_NONE_GIVEN: Final = GetParameters()


class GetArguments(Arguments):
    """Arguments of `resource_get`."""

    resource: Annotated[str, Field(description="kind, plural, short name, or plural.group")]
    name: str
    namespace: str | None = None
    subresource: Annotated[str | None, Field(description="status, scale, or logs (of a pod or workload)")] = None
    parameters: Annotated[
        GetParameters, Field(description="for logs; limitBytes for long objects too", default=_NONE_GIVEN)
    ]
    output: Annotated[Literal["object", "yaml", "json"], Field(description="json: nothing but JSON")] = "object"
    include_annotations: bool = False


async def resource_get(session: ClusterSession, arguments: GetArguments) -> str:
    """Read one object, trimmed and within the answer's budget."""
    kind = await resource_type(session, arguments.resource)
    namespace = await namespace_of(session, kind, arguments.name, arguments.namespace)
    subresource = (arguments.subresource or "").lower()
    if subresource in _LOGS:
        return await read_log(session, kind, namespace, arguments.name, arguments.parameters)
    _check_served(kind, subresource)
    request = Request(
        verb="get",
        group=kind.group,
        version=kind.version,
        resource=kind.plural,
        namespace=namespace,
        name=arguments.name,
        subresource=subresource,
        query=(("resourceVersion", newer),) if (newer := arguments.parameters.resource_version) else (),
    )
    document = await parse((await session.request(request, kind)).body)
    if subresource == "status":
        # Kubernetes answers with the whole object; what was asked for is its status.
        document = {key: document[key] for key in ("apiVersion", "kind", "status") if key in document}
    read = trimmed(document, annotations=arguments.include_annotations)
    document = without_credentials(read) if session.cluster.redaction else read
    parameters = arguments.parameters
    asked = parameters.limit_bytes if "limit_bytes" in parameters.model_fields_set else None
    limit = min(asked or session.cluster.limits.answer_bytes, MOST_BYTES) - 512
    # What had nothing to look for need not be looked at again when it leaves.
    answer = Clean if document is read else str
    if arguments.output == "json":
        document, cut = fitted(document, limit)
        return answer(as_json({"cluster": session.cluster.name, **({"cut": True} if cut else {}), "object": document}))
    # Compact JSON costs a model fewer tokens than YAML, and the gateway a two-hundredth of the time: docs/formats.md.
    text, cut = written(document, as_yaml if arguments.output == "yaml" else as_json, limit)
    where = f" in namespace {namespace}" if namespace else ""
    said = " · parts cut at …[more]; parameters.limitBytes for more" if cut else ""
    named = f"{kind.qualified}/{arguments.name}{f'/{subresource}' if subresource else ''}"
    head = visible(f"cluster {session.cluster.shown} · {named}{where}{said}")
    return answer(f"{head}\n{text}")


def _check_served(kind: ResourceType, subresource: str) -> None:
    served = [s.name for s in kind.subresources if s.name in {"status", "scale"} and "get" in s.verbs]
    if subresource and subresource not in served:
        readable = [*served, *(["logs"] if (kind.group, kind.plural) in _LOGGING else [])]
        choice = f"{kind.plural} has {' and '.join(readable) or 'none'} to read"
        message = f"No subresource {subresource[:40]!r} here: {choice}. Leave it out for the object itself."
        raise BadArgument(message)


TOOL = Tool(
    name="resource_get",
    title="Get a resource",
    description="One object, or its status, scale or logs. Without namespace it is looked up by name.",
    arguments=GetArguments,
    run=resource_get,
)
