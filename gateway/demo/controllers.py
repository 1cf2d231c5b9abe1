"""The boundary of rollouts: what the deployment and replica set controllers do after a write, in small steps.

Only what is written through the API is taken care of; a world that was put in whole stays as it is until it is changed.
"""

import copy
import hashlib
import uuid
from datetime import timedelta
from typing import Any

import orjson

from gateway.demo import defaults, endpoints, kubelet
from gateway.demo.builder import Event, owned_by, suffix
from gateway.demo.kubelet import PODS, say
from gateway.demo.state import State
from gateway.demo.store import timestamp
from gateway.demo.wire import Obj

DEPLOYMENTS, REPLICA_SETS = ("apps", "deployments"), ("apps", "replicasets")
_NOW = timedelta(0)
_REVISION = "deployment.kubernetes.io/revision"


def deployment_written(state: State, item: Obj) -> None:
    """Bring a Deployment's replica sets in line with it, soon."""
    namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
    state.soon((DEPLOYMENTS, namespace, name), lambda: _roll(state, namespace, name))


def replica_set_written(state: State, item: Obj) -> None:
    """Bring a ReplicaSet's pods in line with it, soon."""
    namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
    state.soon((REPLICA_SETS, namespace, name), lambda: _fill(state, namespace, name))


def pod_changed(state: State, pod: Obj) -> None:
    """Let services and the owner of a pod that changed, or is gone, look again."""
    endpoints.refresh(state, pod["metadata"]["namespace"])
    owner = _controller(pod)
    if owner and owner["kind"] == "ReplicaSet":
        namespace, name = pod["metadata"]["namespace"], owner["name"]
        state.soon((REPLICA_SETS, namespace, name), lambda: _fill(state, namespace, name))


def _controller(item: Obj) -> Obj | None:
    return next((found for found in item["metadata"].get("ownerReferences") or () if found.get("controller")), None)


def _owned(state: State, key: tuple[str, str], owner: Obj) -> list[Obj]:
    uid = owner["metadata"]["uid"]
    items = state.store.all(key, owner["metadata"]["namespace"])
    return [item for item in items if (_controller(item) or {}).get("uid") == uid]


def _ready(pod: Obj) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(found["type"] == "Ready" and found["status"] == "True" for found in conditions)


def _fill(state: State, namespace: str, name: str) -> None:
    replica_set = state.store.get(REPLICA_SETS, namespace, name)
    if replica_set is None or replica_set["metadata"].get("deletionTimestamp"):
        return
    pods = [pod for pod in _owned(state, PODS, replica_set) if not pod["metadata"].get("deletionTimestamp")]
    wanted = replica_set["spec"].get("replicas", 1)
    pods += [_add_pod(state, replica_set) for _ in range(wanted - len(pods))]
    pods.sort(key=lambda pod: (not _ready(pod), pod["metadata"]["creationTimestamp"]))
    for pod in pods[wanted:]:
        state.store.remove(PODS, namespace, pod["metadata"]["name"])
        words = f"Deleted pod: {pod['metadata']['name']}"
        say(state, replica_set, Event("Normal", "SuccessfulDelete", words, "replicaset-controller", _NOW))
    if pods[wanted:]:
        endpoints.refresh(state, namespace)
    pods = pods[:wanted]
    ready = sum(map(_ready, pods))
    counts = {"fullyLabeledReplicas": len(pods), "readyReplicas": ready, "availableReplicas": ready}
    status: Obj = {"replicas": len(pods), **{key: value for key, value in counts.items() if value}}
    status |= {"observedGeneration": replica_set["metadata"].get("generation", 1), "terminatingReplicas": 0}
    if status != replica_set.get("status"):
        state.store.put(REPLICA_SETS, {**replica_set, "status": status})
    owner = _controller(replica_set)
    if owner and owner["kind"] == "Deployment":
        _roll(state, namespace, owner["name"])


def _add_pod(state: State, replica_set: Obj) -> Obj:
    template, metadata = replica_set["spec"]["template"], replica_set["metadata"]
    made: Obj = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            **copy.deepcopy(template["metadata"]),
            "name": f"{metadata['name']}-{suffix(uuid.uuid4().hex, 5)}",
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "generation": 1,
            "ownerReferences": [owned_by(replica_set)],
        },
        "spec": copy.deepcopy(template["spec"]),
    }
    defaults.complete(made)
    pod = state.store.put(PODS, made)
    words = f"Created pod: {pod['metadata']['name']}"
    say(state, replica_set, Event("Normal", "SuccessfulCreate", words, "replicaset-controller", _NOW))
    kubelet.created(state, pod, pod_changed)
    return pod


def _bare_template(template: Obj) -> Obj:
    labels = {key: value for key, value in template["metadata"].get("labels", {}).items() if key != "pod-template-hash"}
    return {**template, "metadata": {**template["metadata"], "labels": labels}}


def _share(value: Any, replicas: int, *, up: bool) -> int:
    if isinstance(value, str) and value.endswith("%"):
        part = int(value[:-1]) * replicas
        return -(-part // 100) if up else part // 100
    return int(value)


def _roll(state: State, namespace: str, name: str) -> None:
    deployment = state.store.get(DEPLOYMENTS, namespace, name)
    if deployment is None or deployment["metadata"].get("deletionTimestamp"):
        return
    sets = _owned(state, REPLICA_SETS, deployment)
    template = _bare_template(deployment["spec"]["template"])
    newest = next((found for found in sets if _bare_template(found["spec"]["template"]) == template), None)
    wanted = deployment["spec"].get("replicas", 1)
    older = [found for found in sets if found is not newest]
    if newest is None and not deployment["spec"].get("paused"):
        newest = _add_replica_set(state, deployment, sets)
        deployment = state.store.get(DEPLOYMENTS, namespace, name) or deployment
    if newest is not None:
        _scale_all(state, deployment, newest, older, wanted)
    _report(state, namespace, name)


def _pods_of(found: Obj, field: str) -> int:
    return int((found.get("status") or {}).get(field) or 0)


def _scale_all(state: State, deployment: Obj, newest: Obj, older: list[Obj], wanted: int) -> None:
    strategy = deployment["spec"].get("strategy") or {}
    running = sum(found["spec"].get("replicas", 1) for found in older)
    if strategy.get("type") == "Recreate":
        for found in older:
            _scale(state, deployment, found, 0)
        gone = not sum(_pods_of(found, "replicas") for found in older)
        _scale(state, deployment, newest, wanted if gone else newest["spec"]["replicas"])
        return
    rolling = strategy.get("rollingUpdate") or {}
    surge = _share(rolling.get("maxSurge", "25%"), wanted, up=True)
    spare = _share(rolling.get("maxUnavailable", "25%"), wanted, up=False)
    if not running:
        _scale(state, deployment, newest, wanted)
        return
    room = wanted + max(surge, 0 if spare else 1) - running
    _scale(state, deployment, newest, max(newest["spec"]["replicas"], min(wanted, room)))
    available = sum(_pods_of(found, "availableReplicas") for found in (newest, *older))
    for found in older:
        broken = found["spec"]["replicas"] - _pods_of(found, "availableReplicas")
        removable = min(found["spec"]["replicas"], broken + max(0, available - (wanted - spare)))
        available -= max(0, removable - broken)
        _scale(state, deployment, found, found["spec"]["replicas"] - removable)


def _scale(state: State, deployment: Obj, found: Obj, replicas: int) -> None:
    before = found["spec"].get("replicas", 1)
    if before == replicas:
        return
    metadata = {**found["metadata"], "generation": found["metadata"].get("generation", 1) + 1}
    stored = state.store.put(
        REPLICA_SETS, {**found, "metadata": metadata, "spec": {**found["spec"], "replicas": replicas}}
    )
    way = "up" if replicas > before else "down"
    words = f"Scaled {way} replica set {metadata['name']} from {before} to {replicas}"
    say(state, deployment, Event("Normal", "ScalingReplicaSet", words, "deployment-controller", _NOW))
    replica_set_written(state, stored)


def _add_replica_set(state: State, deployment: Obj, sets: list[Obj]) -> Obj:
    metadata, spec = deployment["metadata"], deployment["spec"]
    revision = 1 + max(
        (int((found["metadata"].get("annotations") or {}).get(_REVISION, 0)) for found in sets), default=0
    )
    digest = hashlib.sha256(orjson.dumps(spec["template"], option=orjson.OPT_SORT_KEYS)).hexdigest()
    hashed = suffix(digest, 10)
    template = copy.deepcopy(spec["template"])
    template["metadata"]["labels"] = {**template["metadata"].get("labels", {}), "pod-template-hash": hashed}
    labels = {**(spec["selector"].get("matchLabels") or {}), "pod-template-hash": hashed}
    annotations = {**(metadata.get("annotations") or {}), _REVISION: str(revision)}
    state.store.put(DEPLOYMENTS, {**deployment, "metadata": {**metadata, "annotations": annotations}})
    return state.store.put(
        REPLICA_SETS,
        {
            "kind": "ReplicaSet",
            "apiVersion": "apps/v1",
            "metadata": {
                "name": f"{metadata['name']}-{hashed}",
                "namespace": metadata["namespace"],
                "generation": 1,
                "labels": dict(template["metadata"]["labels"]),
                "annotations": {_REVISION: str(revision)},
                "ownerReferences": [owned_by(deployment)],
            },
            "spec": {"replicas": 0, "selector": {**spec["selector"], "matchLabels": labels}, "template": template},
            "status": {"replicas": 0},
        },
    )


def _condition(before: list[Obj], kind: str, status: str, reason: str, message: str) -> Obj:
    now = timestamp()
    old = next((found for found in before if found["type"] == kind), {})
    same = old.get("status") == status
    if same and (old.get("reason"), old.get("message")) == (reason, message):
        return old
    times = {"lastUpdateTime": now, "lastTransitionTime": old["lastTransitionTime"] if same else now}
    return {"type": kind, "status": status, **times, "reason": reason, "message": message}


def _report(state: State, namespace: str, name: str) -> None:
    deployment = state.store.get(DEPLOYMENTS, namespace, name)
    if deployment is None:
        return
    sets = _owned(state, REPLICA_SETS, deployment)
    template = _bare_template(deployment["spec"]["template"])
    newest = next((found for found in sets if _bare_template(found["spec"]["template"]) == template), None)
    wanted = deployment["spec"].get("replicas", 1)
    total, ready = (sum(_pods_of(found, field) for found in sets) for field in ("replicas", "readyReplicas"))
    updated = _pods_of(newest, "replicas") if newest else 0
    spare = (deployment["spec"].get("strategy") or {}).get("rollingUpdate", {}).get("maxUnavailable", "25%")
    enough = ready >= wanted - _share(spare, wanted, up=False)
    done = newest is not None and updated == total == wanted == _pods_of(newest, "readyReplicas")
    before = (deployment.get("status") or {}).get("conditions") or []
    available = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    if not enough:
        available = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    shown = newest["metadata"]["name"] if newest else ""
    progress = (
        ("NewReplicaSetAvailable", "has successfully progressed.") if done else ("ReplicaSetUpdated", "is progressing.")
    )
    conditions = [
        _condition(before, "Available", *available),
        _condition(before, "Progressing", "True", progress[0], f'ReplicaSet "{shown}" {progress[1]}'),
    ]
    counts = {"replicas": total, "updatedReplicas": updated, "readyReplicas": ready, "availableReplicas": ready}
    counts["unavailableReplicas"] = max(0, max(wanted, total) - ready)
    status: Obj = {"observedGeneration": deployment["metadata"]["generation"], "terminatingReplicas": 0}
    status |= {key: value for key, value in counts.items() if value}
    status["conditions"] = conditions
    if status != deployment.get("status"):
        state.store.put(DEPLOYMENTS, {**deployment, "status": status})
