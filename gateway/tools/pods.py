"""Boundary between the name of a pod or a workload and the one pod and container that is meant, as kubectl chooses."""

from dataclasses import dataclass
from typing import Any, Final

from gateway.access.session import ClusterSession
from gateway.discovery.resolve import by_api_version
from gateway.errors import BadArgument, GatewayError, NotOffered
from gateway.kube.request import METADATA_LIST, Request
from gateway.kube.types import ResourceType
from gateway.tools.naming import shown
from gateway.tools.shaping import parse

WORKLOADS: Final = frozenset(
    {
        ("apps", "deployments"),
        ("apps", "statefulsets"),
        ("apps", "daemonsets"),
        ("apps", "replicasets"),
        ("batch", "jobs"),
        ("", "replicationcontrollers"),
    }
)
_DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
_MOST_PODS: Final = 500
_OPERATORS: Final = {"In": "{} in ({})", "NotIn": "{} notin ({})", "Exists": "{}", "DoesNotExist": "!{}"}


@dataclass(frozen=True, slots=True)
class PodRef:
    """One pod, its type, and how it was chosen where its own name was not given (else empty)."""

    kind: ResourceType
    namespace: str
    name: str
    chosen: str = ""


async def pod_of(
    session: ClusterSession, kind: ResourceType, namespace: str, name: str, *, running: bool = False
) -> PodRef:
    """Return the pod itself, or the newest of a workload's pods; with `running`, of those that run.

    Raises:
        BadArgument: The kind has no pods.
        NotOffered: The workload has no pod.
    """
    if (kind.group, kind.plural) == ("", "pods"):
        return PodRef(kind, namespace, name)
    pods = by_api_version(await session.catalog(), "v1", "Pod")
    if (kind.group, kind.plural) not in WORKLOADS or pods is None:
        names = ", ".join(sorted(plural for _, plural in WORKLOADS))
        raise BadArgument(f"{kind.plural} have no pods of their own. Name a pod, or one of {names}.")
    owner = await parse((await session.request(_get(kind, namespace, name), kind)).body)
    found = await _pods_of(session, pods, owner, namespace, running=running)
    if not found:
        which = "running pod" if running else "pod"
        message = f"{kind.kind} {namespace}/{shown(name)} has no {which} now. Read it with resource_get to see why."
        raise NotOffered(message)
    newest, *others = found
    of = f", of {len(found)}" if others else ""
    return PodRef(pods, namespace, newest, f"newest{of}, of {kind.kind} {shown(name)}")


async def _pods_of(
    session: ClusterSession, pods: ResourceType, owner: dict[str, Any], namespace: str, *, running: bool
) -> list[str]:
    """Return the names of the pods that the owner's selector finds, its own where it owns any, the newest first."""
    selector = label_selector((owner.get("spec") or {}).get("selector") or {})
    if not selector:
        return []
    phase = (("fieldSelector", "status.phase=Running"),) if running else ()
    request = Request(
        verb="list",
        group="",
        version="v1",
        resource="pods",
        namespace=namespace,
        query=(("labelSelector", selector), ("limit", str(_MOST_PODS)), *phase),
        accept=METADATA_LIST,
    )
    items = (await parse((await session.request(request, pods)).body)).get("items") or ()
    found = [item["metadata"] for item in items]
    uid = owner["metadata"].get("uid")
    own = [each for each in found if any(ref.get("uid") == uid for ref in each.get("ownerReferences") or ())]
    newest = sorted(own or found, key=lambda each: (each.get("creationTimestamp") or "", each["name"]), reverse=True)
    return [each["name"] for each in newest]


def label_selector(selector: dict[str, Any]) -> str:
    """Return a LabelSelector, or the plain labels of older kinds, as a query has it."""
    if not {"matchLabels", "matchExpressions"} & selector.keys():
        selector = {"matchLabels": selector}
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    parts += [
        _OPERATORS[each["operator"]].format(each["key"], ",".join(each.get("values") or ()))
        for each in selector.get("matchExpressions") or ()
    ]
    return ",".join(parts)


async def read_pod(session: ClusterSession, pod: PodRef) -> dict[str, Any]:
    """Read the pod.

    Raises:
        GatewayError: It can't be read, or what is answered is no pod.
    """
    found = await parse((await session.request(_get(pod.kind, pod.namespace, pod.name), pod.kind)).body)
    check_identity(found)
    return found


def check_identity(found: dict[str, Any]) -> None:
    """Make sure that an object has a name and a uid, without which nothing could be held to be done to just it.

    Raises:
        GatewayError: It has not.
    """
    metadata = found.get("metadata") or {}
    if not metadata.get("uid") or not metadata.get("name"):
        raise GatewayError(
            "Nothing was done: what the API server answers has no name or no uid, so it can't be made sure that just "
            "this object would be meant. Tell a person."
        )


def _get(kind: ResourceType, namespace: str, name: str) -> Request:
    return Request(
        verb="get", group=kind.group, version=kind.version, resource=kind.plural, namespace=namespace, name=name
    )


def containers_of(pod: dict[str, Any]) -> list[str]:
    """Return the names of all containers: the pod's own, then init containers, then ephemeral ones."""
    spec = pod.get("spec") or {}
    fields = ("containers", "initContainers", "ephemeralContainers")
    return [container["name"] for field in fields for container in spec.get(field) or ()]


def default_container(pod: dict[str, Any]) -> str:
    """Return kubectl's choice: the container that the pod's annotation names, else the first."""
    names = containers_of(pod)
    annotated = (pod["metadata"].get("annotations") or {}).get(_DEFAULT_CONTAINER)
    return annotated if annotated in names else names[0]


def container_status(pod: dict[str, Any], container: str) -> dict[str, Any]:
    """Return what the kubelet reports of a container; empty before it has."""
    status = pod.get("status") or {}
    for field in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for found in status.get(field) or ():
            if found["name"] == container:
                return dict(found)
    return {}
