"""The boundary of what happens to pods in life: each story has the states, events and logs a kubelet would leave.

Messages are those of Kubernetes 1.36.
"""

from datetime import timedelta

from gateway.demo.builder import POD, Event, PodStory
from gateway.demo.wire import Obj

_MINUTE = timedelta(minutes=1)


def _kubelet(reason: str, message: str, first: timedelta, **more: object) -> Event:
    kind = "Warning" if reason in {"BackOff", "Failed", "Unhealthy", "FailedMount"} else "Normal"
    return Event(more.pop("type", kind), reason, message, "kubelet", first, **more)  # type: ignore[arg-type]


def _begun(name: str, image: str, first: timedelta, **more: object) -> tuple[Event, ...]:
    present = f'Container image "{image}" already present on machine and can be accessed by the pod'
    return (
        _kubelet("Pulled", present, first, container=name, **more),
        _kubelet("Created", "Container created", first, container=name, **more),
        _kubelet("Started", "Container started", first, container=name, **more),
    )


def healthy(log: str, *, started: timedelta = timedelta(days=4), restarts: int = 0) -> PodStory:
    """Return a pod that runs as it should; its events are long gone."""
    last: Obj | None = None
    if restarts:
        ended = {"exitCode": 0, "reason": "Completed", "startedAt": started * 2, "finishedAt": started}
        last = {"terminated": {**ended, "containerID": "containerd://" + "0" * 64}}
    return PodStory(started=started, log=log, restarts=restarts, last=last)


def running(name: str, image: str) -> PodStory:
    """Return a pod whose container has just started."""
    return PodStory(started=timedelta(0), events=_begun(name, image, timedelta(0)))


def crash_loop(name: str, image: str, log: str, *, age: timedelta, restarts: int = 12) -> PodStory:
    """Return a pod whose process ends with code 1 soon after each start."""
    ended = 2 * _MINUTE
    run = {"exitCode": 1, "reason": "Error", "startedAt": ended + timedelta(seconds=2), "finishedAt": ended}
    words = f"back-off 5m0s restarting failed container={name} pod={POD}"
    return PodStory(
        ready=False,
        started=ended,
        state={"waiting": {"reason": "CrashLoopBackOff", "message": words}},
        last={"terminated": {**run, "containerID": "containerd://" + "c" * 64}},
        restarts=restarts,
        events=(
            *_begun(name, image, age, last=ended, count=restarts + 1),
            _kubelet(
                "BackOff",
                f"Back-off restarting failed container {name} in pod {POD}",
                max(age - _MINUTE, timedelta(0)),
                last=timedelta(seconds=20),
                count=restarts * 17,
                container=name,
            ),
        ),
        log=log,
        previous_log=log,
    )


def image_missing(name: str, image: str, *, age: timedelta) -> PodStory:
    """Return a pod whose image can't be pulled."""
    cause = (
        f'rpc error: code = NotFound desc = failed to pull and unpack image "{image}": failed to resolve reference '
        f'"{image}": {image}: not found'
    )
    words = f'Back-off pulling image "{image}": ErrImagePull: {cause}'
    recent = 2 * _MINUTE
    return PodStory(
        ready=False,
        started=None,
        phase="Pending",
        state={"waiting": {"reason": "ImagePullBackOff", "message": words}},
        events=(
            _kubelet("Pulling", f'Pulling image "{image}"', age, last=recent, count=9, container=name),
            _kubelet("Failed", f'Failed to pull image "{image}": {cause}', age, last=recent, count=9, container=name),
            _kubelet("Failed", "Error: ErrImagePull", age, last=recent, count=9, container=name),
            _kubelet("BackOff", f'Back-off pulling image "{image}"', age, last=_MINUTE, count=143, container=name),
            _kubelet("Failed", "Error: ImagePullBackOff", age, last=_MINUTE, count=143, container=name),
        ),
    )


def unschedulable(message: str, *, age: timedelta) -> PodStory:
    """Return a pod that fits on no node."""
    waited = Event("Warning", "FailedScheduling", message, "default-scheduler", age, 4 * _MINUTE, count=31)
    return PodStory(ready=False, started=None, phase="Pending", node=False, unscheduled=message, events=(waited,))


def unready(name: str, image: str, probe: str, log: str, *, age: timedelta) -> PodStory:
    """Return a pod that runs but whose readiness probe fails."""
    failing = _kubelet("Unhealthy", probe, age - _MINUTE, last=timedelta(seconds=8), count=211, container=name)
    return PodStory(ready=False, started=age, events=(*_begun(name, image, age), failing), log=log)


def config_missing(name: str, image: str, missing: str, *, age: timedelta) -> PodStory:
    """Return a pod whose container wants a ConfigMap that does not exist."""
    words = f'configmap "{missing}" not found'
    present = f'Container image "{image}" already present on machine and can be accessed by the pod'
    recent = timedelta(seconds=40)
    return PodStory(
        ready=False,
        started=None,
        phase="Pending",
        state={"waiting": {"reason": "CreateContainerConfigError", "message": words}},
        events=(
            _kubelet("Pulled", present, age, last=recent, count=187, container=name),
            _kubelet("Failed", f"Error: {words}", age, last=recent, count=187, container=name),
        ),
    )


def out_of_memory(name: str, image: str, log: str, *, age: timedelta, restarts: int = 7) -> PodStory:
    """Return a pod whose container the kernel kills for its memory limit, again and again; it runs at the moment."""
    started, ended = 3 * _MINUTE, 8 * _MINUTE
    run = {"exitCode": 137, "reason": "OOMKilled", "startedAt": ended + 4 * _MINUTE, "finishedAt": ended}
    return PodStory(
        started=started,
        last={"terminated": {**run, "containerID": "containerd://" + "f" * 64}},
        restarts=restarts,
        events=(
            *_begun(name, image, age, last=started, count=restarts + 1),
            _kubelet(
                "BackOff",
                f"Back-off restarting failed container {name} in pod {POD}",
                age - 10 * _MINUTE,
                last=4 * _MINUTE,
                count=restarts * 9,
                container=name,
            ),
        ),
        log=log.splitlines(keepends=True)[0],
        previous_log=log,
    )


def failed_once(name: str, image: str, log: str, *, age: timedelta) -> PodStory:
    """Return a job's pod that ended with code 1."""
    ended = age - timedelta(seconds=4)
    state = {"exitCode": 1, "reason": "Error", "startedAt": age - timedelta(seconds=1), "finishedAt": ended}
    return PodStory(
        ready=False,
        started=ended,
        phase="Failed",
        state={"terminated": {**state, "containerID": "containerd://" + "e" * 64}},
        events=_begun(name, image, age),
        log=log,
    )


def succeeded(log: str, *, age: timedelta) -> PodStory:
    """Return a job's pod that did its work."""
    ended = age - timedelta(seconds=40)
    state = {"exitCode": 0, "reason": "Completed", "startedAt": age - timedelta(seconds=1), "finishedAt": ended}
    return PodStory(
        ready=False,
        started=ended,
        phase="Succeeded",
        state={"terminated": {**state, "containerID": "containerd://" + "d" * 64}},
        log=log,
    )
