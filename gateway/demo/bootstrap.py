"""The boundary of what every embedded cluster starts with: namespaces, service accounts and who may do what."""

from gateway.demo import rbac
from gateway.demo.store import Store
from gateway.demo.wire import Obj

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease", "demo")


def namespace(name: str) -> Obj:
    """Return a namespace as the server completes it."""
    return {
        "kind": "Namespace",
        "apiVersion": "v1",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def service_account(namespace_name: str, name: str) -> Obj:
    """Return a service account."""
    return {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": name, "namespace": namespace_name}}


def _subject(name: str) -> list[Obj]:
    return [{"kind": "ServiceAccount", "name": name, "namespace": "demo"}]


def bootstrap(store: Store) -> None:
    """Fill a new cluster."""
    rbac.bootstrap(store)
    for name in NAMESPACES:
        store.put(("", "namespaces"), namespace(name))
        store.put(("", "serviceaccounts"), service_account(name, "default"))
    for name in ("mcp", "viewer"):
        store.put(("", "serviceaccounts"), service_account("demo", name))
    store.put(
        (rbac.GROUP, "clusterrolebindings"),
        {
            "kind": "ClusterRoleBinding",
            "apiVersion": f"{rbac.GROUP}/v1",
            "metadata": {"name": "mcp"},
            "subjects": _subject("mcp"),
            "roleRef": {"apiGroup": rbac.GROUP, "kind": "ClusterRole", "name": "cluster-admin"},
        },
    )
    store.put(
        (rbac.GROUP, "rolebindings"),
        {
            "kind": "RoleBinding",
            "apiVersion": f"{rbac.GROUP}/v1",
            "metadata": {"name": "viewer", "namespace": "demo"},
            "subjects": _subject("viewer"),
            "roleRef": {"apiGroup": rbac.GROUP, "kind": "ClusterRole", "name": "view"},
        },
    )
