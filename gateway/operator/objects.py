"""Boundary between manifests and the objects of one cluster: what is there, what would change, making and undoing."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from gateway.kube.errors import ApiError, Forbidden, NotFound
from gateway.kube.paths import segment
from gateway.operator.roles import MANAGED_BY, RBAC, Manifest
from gateway.operator.server import Server

_PLURALS: Final = {
    "Namespace": "namespaces",
    "ServiceAccount": "serviceaccounts",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
}
_MANAGER: Final = {"fieldManager": "kube-mcp-gateway-onboard", "force": "true"}
_SELECTOR: Final = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())
_BOOKKEEPING: Final = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")


@dataclass(frozen=True, slots=True)
class Step:
    """One object, and what is to be done about it; `keep` is for what is already as it should be."""

    action: Literal["create", "change", "keep", "delete"]
    manifest: Manifest

    def __str__(self) -> str:
        """Spell it as in `create ServiceAccount kube-mcp-gateway/agent-ada`."""
        return f"{self.action} {title(self.manifest)}"


def title(manifest: Mapping[str, Any]) -> str:
    """Return kind and name, with the namespace before it where there is one."""
    metadata = manifest["metadata"]
    namespace = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{manifest['kind']} {namespace}{metadata['name']}"


def path_of(manifest: Mapping[str, Any]) -> str:
    """Return an object's path; its segments are checked and escaped."""
    metadata, version = manifest["metadata"], manifest["apiVersion"]
    return f"{_folder(version, manifest['kind'], metadata.get('namespace', ''))}/{segment(metadata['name'], 'name')}"


async def planned(server: Server, manifest: Manifest, made: frozenset[str]) -> Step:
    """Say what applying a manifest would do, having tried it as far as that leaves no trace.

    The trial includes Kubernetes' own check that nobody gives away more than they may. `made` are the namespaces that
    do not exist yet: what goes into them can't be tried, so only the right to make it is asked for.

    Raises:
        ApiError: The API server would refuse it.
    """
    namespace = manifest["metadata"].get("namespace", "")
    if namespace in made:
        await _may_create(server, manifest["kind"], manifest["apiVersion"], namespace)
        return Step("create", manifest)
    try:
        before = await server.request("GET", path_of(manifest))
    except NotFound:
        before = None
    if before is not None and manifest["kind"] == "Namespace":
        # Somebody else's namespace is used as it is.
        return Step("keep", manifest)
    after = await server.request("PATCH", path_of(manifest), manifest, query={**_MANAGER, "dryRun": "All"})
    if before is None:
        return Step("create", manifest)
    return Step("keep" if _plain(before) == _plain(after) else "change", manifest)


async def carried_out(server: Server, steps: list[Step], done: list[Step]) -> None:
    """Take the steps in order; each that is taken, or may have been, is appended to `done` at once.

    Raises:
        ApiError: The API server refused one; those after it were not tried.
        GatewayError: It did not answer.
    """
    for step in steps:
        if step.action == "keep":
            continue
        try:
            if step.action == "delete":
                await server.request("DELETE", path_of(step.manifest))
            else:
                await server.request("PATCH", path_of(step.manifest), step.manifest, query=_MANAGER)
        except NotFound:
            if step.action != "delete":
                raise
        except ApiError:
            raise
        except BaseException:
            # Nobody answered, or nobody waits any longer: it may have been done.
            done.append(step)
            raise
        done.append(step)


def undoing(done: list[Step]) -> list[Step]:
    """Return the steps that take back what was created, last first; what was changed before stays changed."""
    return [Step("delete", step.manifest) for step in reversed(done) if step.action == "create"]


async def bound(server: Server, service_account: str) -> AsyncIterator[Manifest]:
    """Find what onboarding bound a service account (`namespace/name`) to, and the role to mint its tokens."""
    namespace, _, name = service_account.partition("/")
    minting = f"{MANAGED_BY['app.kubernetes.io/managed-by']}:token:{name}"
    for kind in ("ClusterRoleBinding", "RoleBinding", "Role"):
        for found in await listed(server, f"{RBAC}/v1", kind):
            subjects = found.get("subjects") or ()
            mints = found["metadata"]["name"] == minting and found["metadata"].get("namespace") == namespace
            if mints or any((one.get("namespace"), one["name"]) == (namespace, name) for one in subjects):
                yield {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": found["metadata"]}


async def listed(server: Server, version: str, kind: str, namespace: str = "", *, ours: bool = True) -> list[Manifest]:
    """List the objects of a kind, by default just those that onboarding made."""
    selector = {"labelSelector": _SELECTOR} if ours else None
    answer = await server.request("GET", _folder(version, kind, namespace), query=selector)
    items: list[Manifest] = answer["items"]
    return items


def _folder(version: str, kind: str, namespace: str) -> str:
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    inside = f"/namespaces/{segment(namespace, 'namespace')}" if namespace else ""
    return f"{root}{inside}/{_PLURALS[kind]}"


async def _may_create(server: Server, kind: str, version: str, namespace: str) -> None:
    group = version.partition("/")[0] if "/" in version else ""
    for verb in ("create", "patch"):
        wanted = {"group": group, "resource": _PLURALS[kind], "verb": verb, "namespace": namespace}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": wanted},
        }
        answer = await server.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
        if not answer["status"]["allowed"]:
            message = f"your user may not {verb} {_PLURALS[kind]} in namespace {namespace}"
            raise Forbidden(403, "Forbidden", message)


def _plain(document: Manifest) -> Manifest:
    metadata = {key: value for key, value in document["metadata"].items() if key not in _BOOKKEEPING}
    return {**document, "metadata": metadata}
