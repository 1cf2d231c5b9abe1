"""The boundary of what becomes of a pod on a cluster with nodes: it is placed, its containers start, or why they can't.

Stands in for scheduler and kubelet. On a cluster without nodes pods stay pending, as on a bare control plane.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from gateway.demo import stories
from gateway.demo.builder import Builder, Event, PodStory
from gateway.demo.state import State
from gateway.demo.wire import Obj

PODS = ("", "pods")
PLACING, STARTING = 0.05, 0.2
"""Seconds until a new pod is placed, and from then until it is ready."""

_NOW = timedelta(0)
Changed = Callable[[State, Obj], None]


def nodes_of(state: State) -> tuple[str, ...]:
    """Return the nodes a pod could be placed on."""
    return tuple(
        node["metadata"]["name"]
        for node in state.store.all(("", "nodes"))
        if not node.get("spec", {}).get("unschedulable") and not node.get("spec", {}).get("taints")
    )


def say(state: State, about: Obj, *events: Event) -> None:
    """Record events about an object."""
    build = Builder(datetime.now(UTC), ())
    for event in events:
        build.event(about, event)
    for item in build.items:
        state.store.put(("", "events"), item)


def _cores(quantity: object) -> float:
    text = str(quantity or 0)
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def _unplaceable(state: State, pod: Obj) -> str:
    spec, namespace = pod["spec"], pod["metadata"]["namespace"]
    nodes = state.store.all(("", "nodes"))
    wanted = sum(_cores((c.get("resources") or {}).get("requests", {}).get("cpu")) for c in spec["containers"])
    roomy = [node for node in nodes if wanted <= _cores(node.get("status", {}).get("allocatable", {}).get("cpu", 4))]
    start = f"0/{len(nodes)} nodes are available: "
    if not set(nodes_of(state)) & {node["metadata"]["name"] for node in roomy}:
        end = f"0/{len(nodes)} nodes are available: {len(nodes)} Preemption is not helpful for scheduling."
        tainted = len(nodes) - len(nodes_of(state))
        why = f"{len(nodes) - tainted} Insufficient cpu" + (
            f", {tainted} node(s) had untolerated taint(s)" if tainted else ""
        )
        return f"{start}{why}. no new claims to deallocate, preemption: {end}"
    for volume in spec.get("volumes") or ():
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        claim = state.store.get(("", "persistentvolumeclaims"), namespace, name) if name else None
        if name and claim is None:
            return f'{start}persistentvolumeclaim "{name}" not found. not found'
        if claim is not None and claim.get("status", {}).get("phase") != "Bound":
            return f"{start}pod has unbound immediate PersistentVolumeClaims. not found"
    return ""


def _missing_config(state: State, pod: Obj) -> str:
    namespace = pod["metadata"]["namespace"]
    for container in pod["spec"]["containers"]:
        named = [source.get("configMapRef") for source in container.get("envFrom") or ()]
        named += [(entry.get("valueFrom") or {}).get("configMapKeyRef") for entry in container.get("env") or ()]
        for reference in filter(None, named):
            found = state.store.get(("", "configmaps"), namespace, reference["name"])
            if found is None and not reference.get("optional"):
                return str(reference["name"])
    return ""


def created(state: State, pod: Obj, changed: Changed) -> None:
    """Take care of a new pod; `changed` is told whenever its status became another one."""
    if nodes_of(state) and pod["spec"].get("schedulerName") == "default-scheduler":
        state.later(PLACING, lambda: _place(state, pod, changed))


def settings_written(state: State, config_map: Obj, changed: Changed) -> None:
    """Start those pods of a ConfigMap's namespace again whose containers could not run for want of it."""
    for pod in state.store.all(PODS, config_map["metadata"]["namespace"]):
        for found in (pod.get("status") or {}).get("containerStatuses") or ():
            reason = ((found.get("state") or {}).get("waiting") or {}).get("reason")
            if reason in {"CreateContainerConfigError", "CrashLoopBackOff"}:
                state.later(STARTING, partial(_start, state, pod, changed))


def _current(state: State, pod: Obj) -> Obj | None:
    metadata = pod["metadata"]
    found = state.store.get(PODS, metadata["namespace"], metadata["name"])
    if found is None or found["metadata"]["uid"] != metadata["uid"] or found["metadata"].get("deletionTimestamp"):
        return None
    return found


def _tell(state: State, pod: Obj, story: PodStory, changed: Changed) -> None:
    build = Builder(datetime.now(UTC), nodes_of(state))
    address = f"10.244.1.{2 + sum(pod['metadata']['uid'].encode()) % 250}"
    status = build.pod_status(pod, story, _NOW, address)
    stored = state.store.put(PODS, {**pod, "status": status})
    say(state, stored, *(event for event in story.events))
    changed(state, stored)


def _place(state: State, pod: Obj, changed: Changed) -> None:
    current = _current(state, pod)
    if current is None:
        return
    why = "" if current["spec"].get("nodeName") else _unplaceable(state, current)
    if why:
        _tell(state, current, stories.unschedulable(why, age=_NOW), changed)
        return
    nodes = nodes_of(state)
    node = current["spec"].get("nodeName") or nodes[sum(current["metadata"]["uid"].encode()) % len(nodes)]
    placed = {**current, "spec": {**current["spec"], "nodeName": node}}
    creating = PodStory(ready=False, started=None, phase="Pending", state={"waiting": {"reason": "ContainerCreating"}})
    _tell(state, placed, creating, changed)
    metadata = placed["metadata"]
    words = f"Successfully assigned {metadata['namespace']}/{metadata['name']} to {node}"
    say(state, placed, Event("Normal", "Scheduled", words, "default-scheduler", _NOW))
    state.later(STARTING, lambda: _start(state, pod, changed))


def _start(state: State, pod: Obj, changed: Changed) -> None:
    current = _current(state, pod)
    if current is None:
        return
    before = ((current.get("status") or {}).get("containerStatuses") or [{}])[0]
    restarts = int(before.get("restartCount") or 0)
    container = current["spec"]["containers"][0]
    name, image = container["name"], container["image"]
    missing = _missing_config(state, current)
    if image in state.missing_images:
        story = stories.image_missing(name, image, age=_NOW)
    elif missing:
        story = stories.config_missing(name, image, missing, age=_NOW)
    elif crash := next((rule for rule in state.crashes if rule.image == image and rule.holds(state)), None):
        story = stories.crash_loop(name, image, crash.log, age=_NOW, restarts=restarts + 1)
        state.logs.write(current["metadata"]["namespace"], current["metadata"]["name"], name, crash.log, previous=True)
    else:
        story = replace(stories.running(name, image), restarts=restarts, last=before.get("lastState") or None)
    _tell(state, current, story, changed)
