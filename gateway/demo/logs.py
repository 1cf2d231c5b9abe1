"""The boundary of what containers wrote: kept per container and run, read with the log subresource's options.

The wording of its refusals is that of the kubelet and of the API server's log strategy.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from gateway.demo.durations import parse_time
from gateway.demo.pods import choose_container
from gateway.demo.wire import Answer, Call, Obj, StatusError, bad_request

_Run = tuple[str, str, str, bool]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a log with the time the container runtime gave it, its line end included."""

    at: datetime
    text: bytes


@dataclass(slots=True)
class Logs:
    """All containers' logs."""

    _lines: dict[_Run, list[Line]] = field(default_factory=lambda: defaultdict(list))

    def write(
        self,
        namespace: str,
        pod: str,
        container: str,
        text: str | bytes | Iterable[Line],
        *,
        previous: bool = False,
        start: datetime | None = None,
        step: timedelta = timedelta(seconds=1),
    ) -> None:
        """Append to a container's log; plain text gets times from `start` (now, unless given) in equal steps."""
        lines = self._lines[namespace, pod, container, previous]
        if isinstance(text, str | bytes):
            moment = start or datetime.now(UTC)
            raw = text.encode() if isinstance(text, str) else text
            for line in raw.splitlines(keepends=True):
                lines.append(Line(moment, line))
                moment += step
        else:
            lines.extend(text)

    def clear(self, namespace: str, pod: str) -> None:
        """Forget a pod that is gone."""
        for run in [run for run in self._lines if run[:2] == (namespace, pod)]:
            del self._lines[run]

    def read(self, namespace: str, pod: str, container: str, *, previous: bool) -> list[Line] | None:
        """Return a run's lines, None when nothing was ever written."""
        return self._lines.get((namespace, pod, container, previous))


def _status(pod: Obj, container: str) -> Obj:
    status = pod.get("status") or {}
    for field_name in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for found in status.get(field_name) or ():
            if found["name"] == container:
                return dict(found)
    return {}


def _number(call: Call, name: str, least: int) -> int | None:
    text = call.param(name)
    if not text:
        return None
    try:
        number = int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    if number < least:
        words = "must be greater than or equal to 0" if least == 0 else "must be greater than 0"
        value = f"Invalid value: {number}: {words}"
        raise StatusError(
            422,
            f'PodLogOptions "" is invalid: {name}: {value}',
            details={
                "kind": "PodLogOptions",
                "causes": [{"reason": "FieldValueInvalid", "message": value, "field": name}],
            },
        )
    return number


def answer_log(logs: Logs, pod: Obj, call: Call) -> Answer:
    """Answer GET on the log subresource; raises StatusError 400 where the container has no log yet."""
    tail, limit = _number(call, "tailLines", 0), _number(call, "limitBytes", 1)
    seconds, previous = _number(call, "sinceSeconds", 1), call.flag("previous")
    container = choose_container(pod, call.param("container"))
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    if not pod["spec"].get("nodeName"):
        return Answer(204)
    found = _status(pod, container)
    waiting = (found.get("state") or {}).get("waiting")
    last = (found.get("lastState") or {}).get("terminated")
    if previous and not last:
        raise bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
    if waiting and not previous and not last:
        reason = waiting.get("reason", "ContainerCreating")
        words = {
            "ContainerCreating": "is waiting to start: ContainerCreating",
            "ErrImagePull": "is waiting to start: trying and failing to pull image",
            "ImagePullBackOff": "is waiting to start: trying and failing to pull image",
        }.get(reason, f"is waiting to start: {reason}")
        raise bad_request(f'container "{container}" in pod "{name}" {words}')
    # A container between two runs answers with its last run, which is what the kubelet's newest log file is.
    lines = logs.read(namespace, name, container, previous=previous or bool(waiting))
    if lines is None and waiting:
        lines = logs.read(namespace, name, container, previous=False)
    if lines is None and previous:
        ident = str((last or {}).get("containerID", ""))
        return Answer(200, f"unable to retrieve container logs for {ident}".encode(), "text/plain")
    lines = lines or []
    if seconds is not None:
        lines = [line for line in lines if line.at >= datetime.now(UTC) - timedelta(seconds=seconds)]
    if call.param("sinceTime"):
        oldest = parse_time(call.param("sinceTime"))
        lines = [line for line in lines if line.at >= oldest]
    if tail is not None:
        lines = lines[len(lines) - tail :] if tail < len(lines) else lines
    stamped = call.flag("timestamps")
    body = b"".join(
        line.at.strftime("%Y-%m-%dT%H:%M:%S.%f000Z ").encode() + line.text if stamped else line.text for line in lines
    )
    return Answer(200, body if limit is None else body[:limit], "text/plain")
