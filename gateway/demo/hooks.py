"""The boundary of what follows from a write: the small part of the controllers' work that readers wait for."""

from gateway.demo import controllers, crds, endpoints, kubelet
from gateway.demo.bootstrap import service_account
from gateway.demo.discovery import Resource
from gateway.demo.state import State
from gateway.demo.wire import Obj


def written(state: State, resource: Resource, item: Obj) -> None:
    """Do what a controller would after an object was stored."""
    if resource.key == crds.KEY:
        if not (item["status"].get("conditions")):
            state.store.put(resource.key, crds.established(item))
        crds.serve(state)
    elif resource.key == controllers.DEPLOYMENTS:
        controllers.deployment_written(state, item)
    elif resource.key == controllers.REPLICA_SETS:
        controllers.replica_set_written(state, item)
    elif resource.key == kubelet.PODS and not (item.get("status") or {}).get("conditions"):
        kubelet.created(state, item, controllers.pod_changed)
    elif resource.key == endpoints.SERVICES:
        endpoints.refresh(state, item["metadata"]["namespace"])
    elif resource.key == ("", "configmaps"):
        kubelet.settings_written(state, item, controllers.pod_changed)
    elif resource.key == ("", "namespaces"):
        name = item["metadata"]["name"]
        if state.store.get(("", "serviceaccounts"), name, "default") is None:
            state.store.put(("", "serviceaccounts"), service_account(name, "default"))
