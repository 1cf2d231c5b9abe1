"""The boundary between a pod and how tables sum it up: ready count, status word, restarts.

The status word follows the order in which the real printer looks: the pod's phase and reason, init containers,
containers, deletion.
"""

from datetime import datetime
from typing import Any

from gateway.demo.durations import since
from gateway.demo.wire import Obj, bad_request

NONE = "<none>"


def choose_container(pod: Obj, wanted: str) -> str:
    """Return the container a log or exec is about; raises StatusError 400 where it must be named, or is not there.

    The kubectl.kubernetes.io/default-container annotation is kubectl's business: the server does not look at it.
    """
    spec, name = pod["spec"], pod["metadata"]["name"]
    groups = ("initContainers", "containers", "ephemeralContainers")
    names: list[str] = [container["name"] for group in groups for container in spec.get(group) or ()]
    if wanted:
        if wanted not in names:
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(spec["containers"]) == 1:
        return str(spec["containers"][0]["name"])
    raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]")


def containers_and_images(spec: Obj) -> tuple[str, str]:
    """Return the names and the images of a pod's containers, joined by commas."""
    containers = spec.get("containers") or ()
    return ",".join(c["name"] for c in containers), ",".join(c.get("image", "") for c in containers)


def _terminated(state: Obj) -> str:
    if state.get("reason"):
        return str(state["reason"])
    return f"Signal:{state['signal']}" if state.get("signal") else f"ExitCode:{state.get('exitCode', 0)}"


def _init_reason(spec: Obj, statuses: list[Obj]) -> str | None:
    restartable = {c["name"] for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
    for index, found in enumerate(statuses):
        state = found.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting")
        if terminated and terminated.get("exitCode", 0) == 0:
            continue
        if found["name"] in restartable and found.get("started"):
            continue
        if terminated:
            return f"Init:{_terminated(terminated)}"
        if waiting and waiting.get("reason") not in {None, "", "PodInitializing"}:
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{len(spec.get('initContainers') or ())}"
    return None


def pod_reason(pod: Obj) -> str:
    """Return the word in the STATUS column."""
    spec, status = pod["spec"], pod.get("status") or {}
    reason = status.get("reason") or status.get("phase") or ""
    conditions = {found["type"]: found for found in status.get("conditions") or ()}
    if (conditions.get("PodScheduled") or {}).get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    init = _init_reason(spec, status.get("initContainerStatuses") or [])
    if init is not None:
        reason = init
    else:
        running = False
        for found in reversed(status.get("containerStatuses") or ()):
            state = found.get("state") or {}
            waiting, terminated = state.get("waiting"), state.get("terminated")
            if waiting and waiting.get("reason"):
                reason = waiting["reason"]
            elif terminated:
                reason = _terminated(terminated)
            elif found.get("ready") and state.get("running") is not None:
                running = True
        if reason == "Completed" and running:
            reason = "Running" if (conditions.get("Ready") or {}).get("status") == "True" else "NotReady"
    if pod["metadata"].get("deletionTimestamp"):
        reason = "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return reason


def pod_cells(pod: Obj, now: datetime) -> list[Any]:
    """Return a pod's row."""
    spec, status = pod["spec"], pod.get("status") or {}
    statuses = status.get("containerStatuses") or []
    ready = sum(1 for found in statuses if found.get("ready") and "running" in (found.get("state") or {}))
    counted = (
        statuses
        if _init_reason(spec, status.get("initContainerStatuses") or []) is None
        else (status.get("initContainerStatuses") or [])
    )
    restarts = sum(int(found.get("restartCount") or 0) for found in counted)
    ends = [
        ended["finishedAt"]
        for found in counted
        if (ended := (found.get("lastState") or {}).get("terminated")) and ended.get("finishedAt")
    ]
    shown = f"{restarts} ({since(max(ends), now)} ago)" if restarts and ends else str(restarts)
    gates = spec.get("readinessGates") or ()
    passed = {found["type"] for found in status.get("conditions") or () if found["status"] == "True"}
    addresses = [found["ip"] for found in status.get("podIPs") or ()]
    return [
        pod["metadata"]["name"],
        f"{ready}/{len(spec.get('containers') or ())}",
        pod_reason(pod),
        shown,
        since(pod["metadata"].get("creationTimestamp"), now),
        addresses[0] if addresses else NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        f"{sum(1 for gate in gates if gate['conditionType'] in passed)}/{len(gates)}" if gates else NONE,
    ]
