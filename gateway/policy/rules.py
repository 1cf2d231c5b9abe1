"""Boundary every Kubernetes request of a caller must pass: may it go out, judged by what it is on the wire."""

from typing import Final

from gateway.errors import BadArgument, NotOffered, Refused
from gateway.kube.paths import Attributes
from gateway.policy.options import PolicyOptions

RESTRICTED_GROUPS: Final = frozenset({"rbac.authorization.k8s.io"})
RESTRICTED_CORE: Final = frozenset({"secrets", "serviceaccounts"})
READABLE_SUBRESOURCES: Final = frozenset({"status", "scale", "log"})
NEVER_SUBRESOURCES: Final = frozenset(
    {"proxy", "attach", "portforward", "ephemeralcontainers", "approval", "token", "binding", "finalize", "resize"}
)
ACTING_SUBRESOURCES: Final = frozenset({"exec", "eviction"})
"""These act whatever their verb: a WebSocket to exec is opened with GET and is a `get` to RBAC."""
_OF_ONE: Final = frozenset({"patch", "delete"})
"""Without a name, the API server would take these for the whole collection."""
_READS: Final = frozenset({"get", "list", "watch"})


def is_restricted(policy: PolicyOptions, group: str, resource: str) -> bool:
    """Whether a kind is treated as if it did not exist (promise 7)."""
    if not group:
        return resource in RESTRICTED_CORE
    return group in RESTRICTED_GROUPS or group in policy.restricted_groups


def kind_is_offered(policy: PolicyOptions, group: str, resource: str) -> bool:
    """Whether the cluster's policy lets callers use the kind at all."""
    qualified = f"{resource}.{group}" if group else resource
    kinds = policy.kinds
    return qualified not in kinds.deny and (not kinds.allow or qualified in kinds.allow)


def check(policy: PolicyOptions, attributes: Attributes, *, namespaced: bool) -> None:
    """Let a request pass or say why not; `attributes` are those of the final path.

    `namespaced` is what the catalog says of the kind, which the path of a list can't tell.

    Raises:
        NotOffered: The kind is restricted, in the words of a kind that does not exist.
        Refused: The policy forbids it.
        BadArgument: A namespace must be named, because only some are allowed.
    """
    group, resource = attributes.group, attributes.resource
    if is_restricted(policy, group, resource):
        message = "This cluster serves no such kind here. Call resource_types to see what it serves."
        raise NotOffered(message)
    if not kind_is_offered(policy, group, resource):
        message = f"The gateway's policy for this cluster does not allow {resource}. Ask its operator if you need it."
        raise Refused(message)
    _check_namespace(policy, attributes, namespaced=namespaced)
    _check_verb(policy, attributes)


def _check_namespace(policy: PolicyOptions, attributes: Attributes, *, namespaced: bool) -> None:
    rules = policy.namespaces
    namespace = attributes.namespace or (attributes.name if _is_namespace(attributes) else "")
    if namespace:
        if namespace in rules.deny or (rules.allow and namespace not in rules.allow):
            allowed = f" Allowed: {', '.join(sorted(rules.allow))}." if rules.allow else ""
            message = f"The gateway's policy does not allow namespace {namespace} on this cluster.{allowed}"
            raise Refused(message)
    elif namespaced and (rules.allow or rules.deny):
        which = f"only {', '.join(sorted(rules.allow))}" if rules.allow else f"not {', '.join(sorted(rules.deny))}"
        message = f"Name a namespace: the gateway's policy does not allow all of this cluster's at once ({which})."
        raise BadArgument(message)
    elif rules.allow and _qualified(attributes) not in policy.kinds.allow:
        message = (
            f"{attributes.resource} belongs to no namespace, and the gateway's policy for this cluster allows only "
            f"what is in these: {', '.join(sorted(rules.allow))}."
        )
        raise Refused(message)


def _is_namespace(attributes: Attributes) -> bool:
    return not attributes.group and attributes.resource == "namespaces"


def _qualified(attributes: Attributes) -> str:
    return f"{attributes.resource}.{attributes.group}" if attributes.group else attributes.resource


def _check_verb(policy: PolicyOptions, attributes: Attributes) -> None:
    if attributes.verb in _OF_ONE and not attributes.name:
        message = "Only one named object at a time is changed or deleted through the gateway. Give its name."
        raise Refused(message)
    subresource = attributes.subresource
    named = f"{attributes.resource}/{subresource}"
    reading = attributes.verb in _READS
    if subresource and (
        subresource in NEVER_SUBRESOURCES
        or not ((reading and subresource in READABLE_SUBRESOURCES) or named in policy.subresources)
    ):
        message = f"The gateway does not allow the subresource {named} on this cluster."
        raise Refused(message)
    if reading and subresource not in ACTING_SUBRESOURCES:
        return
    creates = "post" if subresource else "apply"
    needed = {"get": "post", "patch": "apply", "create": creates, "delete": "delete"}.get(attributes.verb)
    if needed not in policy.writes:
        message = "This cluster is read-only through the gateway. Show the change to a person who may make it."
        raise Refused(message)
