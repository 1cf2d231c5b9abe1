"""The boundary between a workload's story and the objects a real cluster would have of it.

What the deployment, job and stateful set controllers, the scheduler and the kubelet would have written is written here:
ReplicaSets, pods, conditions, container states, events and logs, dated back from one moment.
"""

import copy
import hashlib
import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from gateway.demo.defaults import complete, qos
from gateway.demo.store import timestamp
from gateway.demo.wire import Obj

POD = "{pod}"
"""Stands in a story's messages for the pod as the kubelet names it."""

KEPT = timedelta(hours=1)
"""How long an API server keeps events."""

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


def suffix(seed: str, length: int) -> str:
    """Return the kind of random ending Kubernetes gives names, the same for the same seed."""
    digest = hashlib.sha256(seed.encode()).digest()
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:length])


@dataclass(frozen=True, slots=True)
class Event:
    """One event about an object, seen `count` times between `first` and `last` ago."""

    type: str
    reason: str
    message: str
    component: str
    first: timedelta
    last: timedelta | None = None
    count: int = 1
    container: str = ""


@dataclass(frozen=True, slots=True)
class PodStory:
    """What became of a pod: its container's states, what was said about it, and what it logged."""

    ready: bool = True
    started: timedelta | None = timedelta(hours=1)
    """How long ago the container started, None when it never did."""
    state: Obj | None = None
    """The container's state where it is not simply running; times as timedelta."""
    last: Obj | None = None
    restarts: int = 0
    phase: str = "Running"
    node: bool = True
    unscheduled: str = ""
    reason: str = ""
    events: tuple[Event, ...] = ()
    log: str = ""
    previous_log: str = ""


@dataclass(frozen=True, slots=True)
class Log:
    """A container's log, its last line written `ended` ago."""

    namespace: str
    pod: str
    container: str
    text: str
    previous: bool
    ended: timedelta


@dataclass(slots=True)
class Builder:
    """Collects the objects and logs of one cluster."""

    now: datetime
    nodes: tuple[str, ...]
    items: list[Obj] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)
    _addresses: int = 1

    @property
    def workers(self) -> tuple[str, ...]:
        """The nodes without the control plane's taint; all, where there is no other."""
        return tuple(node for node in self.nodes if not node.endswith("control-plane")) or self.nodes

    def at(self, ago: timedelta) -> str:
        """Return the timestamp of a moment so long ago."""
        return timestamp(self.now - ago)

    def add(self, item: Obj, age: timedelta) -> Obj:
        """Complete an object as the server would, and keep it."""
        item = copy.deepcopy(item)
        item["metadata"] = {"uid": str(uuid.uuid4()), **item["metadata"], "creationTimestamp": self.at(age)}
        status = item.pop("status", None)
        complete(item)
        if status is not None:
            item["status"] = status
        if item["kind"] in {"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"}:
            item["metadata"].setdefault("generation", 1)
        self.items.append(item)
        return item

    def event(self, about: Obj, event: Event) -> None:
        """Record an event about an object, in the shape its component writes; after an hour they are gone."""
        if (event.last or event.first) > KEPT:
            return
        metadata = about["metadata"]
        first, last = self.now - event.first, self.now - (event.last or event.first)
        regarding = {
            "kind": about["kind"],
            "namespace": metadata.get("namespace"),
            "name": metadata["name"],
            "uid": metadata["uid"],
            "apiVersion": about["apiVersion"],
        }
        if event.container:
            regarding["fieldPath"] = f"spec.containers{{{event.container}}}"
        ending = hashlib.sha256(f"{metadata['uid']}{event.reason}{event.message}".encode()).hexdigest()[:16]
        namespace = metadata.get("namespace") or "default"
        item: Obj = {
            "kind": "Event",
            "apiVersion": "v1",
            "metadata": {
                "name": f"{metadata['name']}.{ending}",
                "namespace": namespace,
                "creationTimestamp": timestamp(first),
            },
            "involvedObject": {key: value for key, value in regarding.items() if value},
            "reason": event.reason,
            "message": event.message,
        }
        if event.component == "default-scheduler":
            micro = first.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            item |= {"source": {}, "firstTimestamp": None, "lastTimestamp": None, "type": event.type}
            item |= {"eventTime": micro, "action": "Scheduling" if event.type == "Warning" else "Binding"}
            if event.count > 1:
                item["series"] = {"count": event.count, "lastObservedTime": last.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
            item |= {"reportingComponent": "default-scheduler", "reportingInstance": "default-scheduler-control-plane"}
        else:
            host = about.get("spec", {}).get("nodeName") if event.component == "kubelet" else None
            item["source"] = {"component": event.component, **({"host": host} if host else {})}
            item |= {"firstTimestamp": timestamp(first), "lastTimestamp": timestamp(last), "count": event.count}
            item |= {"type": event.type, "eventTime": None, "reportingComponent": event.component}
            item["reportingInstance"] = host or ""
        self.items.append(item)

    def pod(self, template: Obj, name: str, owner: Obj, story: PodStory, age: timedelta) -> Obj:
        """Make a pod of a template and let its story happen."""
        namespace: str = owner["metadata"]["namespace"]
        seed = f"{namespace}/{name}"
        node = self.workers[sum(seed.encode()) % len(self.workers)]
        spec = copy.deepcopy(template["spec"])
        if story.node:
            spec["nodeName"] = node
        self._addresses += 1
        item = self.add(
            {
                "kind": "Pod",
                "apiVersion": "v1",
                "metadata": {
                    "name": name,
                    **({} if owner["kind"] == "StatefulSet" else {"generateName": f"{owner['metadata']['name']}-"}),
                    "namespace": namespace,
                    "labels": dict(template["metadata"].get("labels") or {}),
                    "annotations": dict(template["metadata"].get("annotations") or {}),
                    "ownerReferences": [owned_by(owner)],
                },
                "spec": spec,
                "status": {},
            },
            age,
        )
        item["status"] = self.pod_status(item, story, age, f"10.244.{self.nodes.index(node)}.{self._addresses}")
        if story.node:
            words = f"Successfully assigned {namespace}/{name} to {node}"
            self.event(item, Event("Normal", "Scheduled", words, "default-scheduler", age))
        for event in story.events:
            self.event(item, replace(event, message=event.message.replace(POD, _who(item))))
        container = spec["containers"][0]["name"]
        ended = story.started or timedelta(minutes=2)
        for text, previous in ((story.log, False), (story.previous_log, True)):
            if text:
                recently = timedelta(seconds=5) if story.ready and not previous else ended
                self.logs.append(Log(namespace, name, container, text, previous, recently))
        return item

    def pod_status(self, item: Obj, story: PodStory, age: timedelta, address: str) -> Obj:
        """Return the status a pod's story gives it; `age` is how long ago it was made."""
        container = item["spec"]["containers"][0]
        began = self.at(age)
        changed = self.at(story.started or age)
        status: Obj = {"phase": story.phase, "qosClass": qos(item["spec"]), "observedGeneration": 1}
        if story.reason:
            status["reason"] = story.reason
        if not story.node:
            condition = {"reason": "Unschedulable", "message": story.unscheduled}
            status["conditions"] = [_condition("PodScheduled", "False", began, **condition)]
            return {**status, "phase": "Pending"}
        names = f"[{container['name']}]"
        done = story.phase == "Succeeded"
        why = (
            {}
            if story.ready
            else {
                "reason": "PodCompleted" if done else "PodFailed" if story.phase == "Failed" else "ContainersNotReady",
                **({} if done or story.phase == "Failed" else {"message": f"containers with unready status: {names}"}),
            }
        )
        ready = "True" if story.ready else "False"
        status["conditions"] = [
            _condition("PodReadyToStartContainers", "True", began),
            _condition("Initialized", "True", began, **({"reason": "PodCompleted"} if done else {})),
            _condition("Ready", ready, changed, **why),
            _condition("ContainersReady", ready, changed, **why),
            _condition("PodScheduled", "True", began),
        ]
        status |= {"hostIP": "10.0.0.11", "hostIPs": [{"ip": "10.0.0.11"}], "startTime": began}
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
        state = self._dated(story.state) if story.state else {"running": {"startedAt": changed}}
        if "message" in state.get("waiting", {}):
            state["waiting"]["message"] = state["waiting"]["message"].replace(POD, _who(item))
        ran = story.started is not None
        ident = "containerd://" + hashlib.sha256(f"{item['metadata']['uid']}{story.restarts}".encode()).hexdigest()
        image = container["image"]
        digest = hashlib.sha256(image.encode()).hexdigest()
        status["containerStatuses"] = [
            {
                "name": container["name"],
                "state": state,
                "lastState": self._dated(story.last) if story.last else {},
                "ready": story.ready,
                "restartCount": story.restarts,
                "image": image,
                "imageID": f"{image.partition(':')[0]}@sha256:{digest}" if ran else "",
                **({"containerID": ident} if ran else {}),
                "started": "running" in state,
            }
        ]
        return status

    def _dated(self, state: Obj) -> Obj:
        return {
            kind: {key: self.at(value) if isinstance(value, timedelta) else value for key, value in found.items()}
            for kind, found in state.items()
        }


def _who(pod: Obj) -> str:
    metadata = pod["metadata"]
    return f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"


def _condition(kind: str, status: str, changed: str, **more: str) -> Obj:
    return {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": changed, **more}


def owned_by(owner: Obj) -> Obj:
    """Return the reference to a controlling owner."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
