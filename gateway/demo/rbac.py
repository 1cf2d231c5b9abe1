"""The boundary of who may do what in an embedded cluster: RBAC over its own Role and Binding objects.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/. Decides; words its refusals as the real server does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.demo.discovery import data
from gateway.demo.store import Store
from gateway.demo.wire import Obj, StatusError, forbidden

GROUP = "rbac.authorization.k8s.io"
_KINDS = tuple((GROUP, plural) for plural in ("clusterroles", "clusterrolebindings", "roles", "rolebindings"))


@dataclass(frozen=True, slots=True)
class User:
    """Who asks, as authentication found it."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    def document(self) -> Obj:
        """Return the UserInfo."""
        info: Obj = {"username": self.name}
        if self.uid:
            info["uid"] = self.uid
        info["groups"] = list(self.groups)
        if self.extra:
            info["extra"] = {key: list(values) for key, values in self.extra.items()}
        return info


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
ADMIN = User("kubernetes-admin", ("system:masters", "system:authenticated"))


def service_account(namespace: str, name: str, uid: str, credential: str = "") -> User:
    """Return the user a service account's token makes."""
    return User(
        f"system:serviceaccount:{namespace}:{name}",
        ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"),
        uid,
        {"authentication.kubernetes.io/credential-id": (credential,)} if credential else {},
    )


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is asked for: a resource, or a path that is none."""

    verb: str
    group: str = ""
    version: str = ""
    plural: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


def _has(values: Iterable[str], wanted: str) -> bool:
    return any(value in {"*", wanted} for value in values)


def _covers(rule: Obj, asked: Attributes) -> bool:
    if not _has(rule.get("verbs", ()), asked.verb):
        return False
    if asked.path:
        return any(
            url in {"*", asked.path} or (url.endswith("*") and asked.path.startswith(url[:-1]))
            for url in rule.get("nonResourceURLs", ())
        )
    resource = f"{asked.plural}/{asked.subresource}" if asked.subresource else asked.plural
    names = rule.get("resourceNames") or ()
    return (
        _has(rule.get("apiGroups", ()), asked.group)
        and any(
            value in {"*", resource} or (asked.subresource and value == f"*/{asked.subresource}")
            for value in rule.get("resources", ())
        )
        and (not names or asked.name in names)
    )


class Authorizer:
    """Answers from the cluster's RBAC objects; what it looked up for a user lasts until one of them changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._as_of = -1
        self._known: dict[tuple[str, tuple[str, ...]], list[tuple[str, list[Obj]]]] = {}

    def allowed(self, user: User, asked: Attributes) -> bool:
        """Say whether some binding lets the user do this."""
        return any(
            _covers(rule, asked)
            for namespace, rules in self._rules(user)
            if not namespace or namespace == asked.namespace
            for rule in rules
        )

    def check(self, user: User, asked: Attributes) -> None:
        """Raise StatusError 403, in the words of the real server, unless the user may do this."""
        if self.allowed(user, asked):
            return
        if asked.path:
            raise StatusError(403, f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"', details={})
        resource = f"{asked.plural}/{asked.subresource}" if asked.subresource else asked.plural
        where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
        why = f'User "{user.name}" cannot {asked.verb} resource "{resource}" in API group "{asked.group}" {where}'
        raise forbidden(asked.plural, asked.group, asked.name, why)

    def rules(self, user: User, namespace: str) -> list[Obj]:
        """Return the rules that hold for a user in a namespace, as SelfSubjectRulesReview lists them."""
        return [rule for scope, rules in self._rules(user) if scope in {"", namespace} for rule in rules]

    def _rules(self, user: User) -> list[tuple[str, list[Obj]]]:
        newest = max(self._store.last_change(key) for key in _KINDS)
        if newest != self._as_of:
            self._known.clear()
            self._as_of = newest
        who = (user.name, user.groups)
        found = self._known.get(who)
        if found is None:
            found = self._known[who] = [*self._bound(user, "clusterrolebindings"), *self._bound(user, "rolebindings")]
        return found

    def _bound(self, user: User, plural: str) -> Iterable[tuple[str, list[Obj]]]:
        for binding in self._store.all((GROUP, plural)):
            if any(_is(user, subject) for subject in binding.get("subjects") or ()):
                namespace = binding["metadata"].get("namespace", "")
                reference = binding["roleRef"]
                role = (
                    self._store.get((GROUP, "roles"), namespace, reference["name"])
                    if reference["kind"] == "Role"
                    else self._store.get((GROUP, "clusterroles"), "", reference["name"])
                )
                yield namespace, (role or {}).get("rules") or []


def _is(user: User, subject: Obj) -> bool:
    name = subject["name"]
    if subject["kind"] == "ServiceAccount":
        return user.name == f"system:serviceaccount:{subject.get('namespace', '')}:{name}"
    return user.name == name if subject["kind"] == "User" else name in user.groups


def bootstrap(store: Store) -> None:
    """Create the roles and bindings every cluster starts with that concern people and service accounts."""
    shipped = data("roles.json")
    for role in shipped["roles"]:
        body = {
            "kind": "ClusterRole",
            "apiVersion": f"{GROUP}/v1",
            "metadata": _shipped(role["name"], role["labels"]),
            "rules": role["rules"],
        }
        if role["aggregationRule"]:
            body["aggregationRule"] = role["aggregationRule"]
        store.put((GROUP, "clusterroles"), body)
    for binding in shipped["bindings"]:
        store.put(
            (GROUP, "clusterrolebindings"),
            {
                "kind": "ClusterRoleBinding",
                "apiVersion": f"{GROUP}/v1",
                "metadata": _shipped(binding["name"], {"kubernetes.io/bootstrapping": "rbac-defaults"}),
                "subjects": binding["subjects"],
                "roleRef": binding["roleRef"],
            },
        )


def _shipped(name: str, labels: Mapping[str, str]) -> Obj:
    return {
        "name": name,
        "labels": dict(labels),
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    }
