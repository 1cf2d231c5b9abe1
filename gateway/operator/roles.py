"""Boundary between the roles the gateway ships and what one cluster's policy leaves of them; pure but for reading them.

RBAC is the boundary and the policy a guardrail (promise 12), so what is bound here is never wider than the policy.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import yaml

from gateway.errors import BadArgument
from gateway.operator.naming import NAMESPACE
from gateway.policy.options import PolicyOptions
from gateway.policy.rules import READABLE_SUBRESOURCES, is_restricted, kind_is_offered

ROLES: Final = ("viewer", "operator", "debugger")
MANAGED_BY: Final = {"app.kubernetes.io/managed-by": NAMESPACE}
RBAC: Final = "rbac.authorization.k8s.io"
_READS: Final = frozenset({"get", "list", "watch"})

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Role:
    """Rules for what is in namespaces and for what is not, and what a policy must allow for the role to make sense."""

    name: str
    namespaced: tuple[Manifest, ...]
    cluster: tuple[Manifest, ...]
    writes: frozenset[str]
    subresources: frozenset[str]

    @property
    def policy(self) -> dict[str, list[str]]:
        """The least policy that this role needs, in the shape of the settings; empty for reading."""
        needed = {"writes": sorted(self.writes), "subresources": sorted(self.subresources)}
        return {key: value for key, value in needed.items() if value}


def shipped(name: str) -> Role:
    """Return a shipped role: `viewer`, `operator` or `debugger`."""
    document = yaml.safe_load(files("gateway.operator").joinpath("roles", f"{name}.yaml").read_text(encoding="utf-8"))
    base = shipped(document["includes"]) if "includes" in document else Role(name, (), (), frozenset(), frozenset())
    return Role(
        name,
        (*base.namespaced, *document.get("namespaced", ())),
        (*base.cluster, *document.get("cluster", ())),
        frozenset(document["needs"].get("writes", ())),
        frozenset(document["needs"].get("subresources", ())),
    )


def narrowed(role: Role, policy: PolicyOptions) -> Role:
    """Return what the policy leaves of a role.

    Raises:
        BadArgument: It does not leave what the role is for; the text says what the policy would need.
    """
    missing = [f"{key}: [{', '.join(value)}]" for key, value in _missing(role, policy).items()]
    if missing:
        raise BadArgument(
            f"Role {role.name} is wider than the cluster's policy in the settings, which needs {' and '.join(missing)} "
            "for it. Change the policy first, or take --role viewer."
        )
    cluster = role.cluster
    if policy.namespaces.allow:
        # The policy then wants such kinds named; an empty list allows none of them.
        allowed = policy.kinds.allow
        cluster = tuple(_kept(cluster, lambda group, resource, _: _qualified(group, resource) in allowed))
    return Role(
        role.name,
        tuple(_kept(role.namespaced, lambda *one: _permits(policy, *one))),
        tuple(_kept(cluster, lambda *one: _permits(policy, *one))),
        role.writes,
        role.subresources,
    )


def manifests(
    role: Role, policy: PolicyOptions, service_account: str, namespaces: Sequence[str], minter: str | None
) -> list[Manifest]:
    """Return the objects that give a service account (`namespace/name`) a narrowed role, in the order to make them.

    `namespaces` are those that exist; a policy that allows or denies some binds the role in each that it leaves,
    because RBAC knows no denial. `minter` is the Kubernetes user who may mint the account's tokens.
    """
    namespace, _, name = service_account.partition("/")
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    shared, bound = f"{NAMESPACE}-{role.name}", f"{NAMESPACE}:{role.name}:{namespace}:{name}"
    made = [
        _object("v1", "Namespace", namespace),
        _object("v1", "ServiceAccount", name, namespace),
        _object(f"{RBAC}/v1", "ClusterRole", shared, rules=list(role.namespaced)),
    ]
    if role.cluster:
        made.append(_object(f"{RBAC}/v1", "ClusterRole", f"{shared}-cluster", rules=list(role.cluster)))
        made.append(_binding("ClusterRoleBinding", f"{bound}:cluster", f"{shared}-cluster", subject))
    rules = policy.namespaces
    if rules.allow or rules.deny:
        left = [one for one in namespaces if one not in rules.deny and (not rules.allow or one in rules.allow)]
        made += [_binding("RoleBinding", bound, shared, subject, one) for one in sorted(left)]
    else:
        made.append(_binding("ClusterRoleBinding", bound, shared, subject))
    if minter:
        minting = f"{NAMESPACE}:token:{name}"
        rule = {"apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": [name], "verbs": ["create"]}
        user = {"apiGroup": RBAC, "kind": "User", "name": minter}
        made.append(_object(f"{RBAC}/v1", "Role", minting, namespace, rules=[rule]))
        made.append(_binding("RoleBinding", minting, minting, user, namespace, kind="Role"))
    return made


def _object(version: str, kind: str, name: str, namespace: str = "", **more: object) -> Manifest:
    metadata: Manifest = {"name": name, **({"namespace": namespace} if namespace else {}), "labels": dict(MANAGED_BY)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


def _binding(
    binding: str, name: str, role: str, subject: Manifest, namespace: str = "", *, kind: str = "ClusterRole"
) -> Manifest:
    reference = {"apiGroup": RBAC, "kind": kind, "name": role}
    return _object(f"{RBAC}/v1", binding, name, namespace, roleRef=reference, subjects=[subject])


def _missing(role: Role, policy: PolicyOptions) -> dict[str, list[str]]:
    needed = {"writes": role.writes - policy.writes, "subresources": role.subresources - policy.subresources}
    return {key: sorted(value) for key, value in needed.items() if value}


def _kept(rules: Iterable[Manifest], keep: Any) -> Iterable[Manifest]:
    for rule in rules:
        (group,) = rule["apiGroups"]
        by_verbs: dict[tuple[str, ...], list[str]] = {}
        for resource in rule["resources"]:
            verbs = tuple(verb for verb in rule["verbs"] if keep(group, resource, verb))
            if verbs:
                by_verbs.setdefault(verbs, []).append(resource)
        for verbs, resources in by_verbs.items():
            yield {"apiGroups": [group], "resources": resources, "verbs": list(verbs)}


def _permits(policy: PolicyOptions, group: str, resource: str, verb: str) -> bool:
    plural, _, subresource = resource.partition("/")
    if is_restricted(policy, group, plural) or not kind_is_offered(policy, group, plural):
        return False
    if subresource and subresource not in READABLE_SUBRESOURCES:
        return resource in policy.subresources and "post" in policy.writes
    return verb in _READS or ("delete" if verb == "delete" else "apply") in policy.writes


def _qualified(group: str, resource: str) -> str:
    return f"{resource}.{group}" if group else resource
