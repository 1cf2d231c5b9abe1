"""The boundary between a service's selector and the endpoints it has: the endpoint slice controller's work."""

from collections.abc import Iterable

from gateway.demo.builder import owned_by, suffix
from gateway.demo.state import State
from gateway.demo.wire import Obj

SLICES = ("discovery.k8s.io", "endpointslices")
SERVICES = ("", "services")
_LABEL = "kubernetes.io/service-name"


def _endpoint(pod: Obj) -> Obj:
    ready = any(
        found["type"] == "Ready" and found["status"] == "True" for found in pod["status"].get("conditions") or ()
    )
    metadata = pod["metadata"]
    target = {"kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": ready, "serving": ready, "terminating": False},
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": target,
    }


def slice_of(service: Obj, pods: Iterable[Obj]) -> Obj:
    """Return the endpoint slice of a service, given the pods of its namespace."""
    metadata, spec = service["metadata"], service["spec"]
    selector = (spec.get("selector") or {}).items()
    chosen = [
        pod
        for pod in pods
        if selector <= (pod["metadata"].get("labels") or {}).items() and (pod.get("status") or {}).get("podIP")
    ]
    ports = [
        {
            "name": port.get("name", ""),
            "port": port.get("targetPort", port["port"]),
            "protocol": port.get("protocol", "TCP"),
        }
        for port in spec.get("ports") or ()
    ]
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {
            "name": f"{metadata['name']}-{suffix(metadata['name'], 5)}",
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": {
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                _LABEL: metadata["name"],
            },
            "ownerReferences": [owned_by(service)],
        },
        "addressType": "IPv4",
        "endpoints": [_endpoint(pod) for pod in chosen],
        "ports": ports if chosen else [],
    }


def refresh(state: State, namespace: str) -> None:
    """Bring the endpoint slices of a namespace's services in line with its pods, soon."""
    state.soon((SLICES, namespace), lambda: _refresh(state, namespace))


def _refresh(state: State, namespace: str) -> None:
    pods = [pod for pod in state.store.all(("", "pods"), namespace) if not pod["metadata"].get("deletionTimestamp")]
    slices = {(item["metadata"].get("labels") or {}).get(_LABEL): item for item in state.store.all(SLICES, namespace)}
    for service in state.store.all(SERVICES, namespace):
        if not service["spec"].get("selector"):
            continue
        made, known = slice_of(service, pods), slices.get(service["metadata"]["name"])
        if known is None:
            state.store.put(SLICES, made)
        elif (known.get("endpoints"), known.get("ports")) != (made["endpoints"], made["ports"]):
            state.store.put(SLICES, {**known, "endpoints": made["endpoints"], "ports": made["ports"]})
