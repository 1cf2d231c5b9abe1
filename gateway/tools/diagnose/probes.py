"""Rules about probes that fail: the wrong port or path, too early, too slow, or an application that says no."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from gateway.tools.diagnose.endings import killed_by_probe
from gateway.tools.diagnose.facts import Event, Facts
from gateway.tools.diagnose.logs import decisive
from gateway.tools.diagnose.objects import dig
from gateway.tools.diagnose.pods import Container, containers, live_pods
from gateway.tools.diagnose.rules import Evidence, Family, Found, Rule, Step, change, quoted, read_log

_KINDS: Final = {"Readiness": "readinessProbe", "Liveness": "livenessProbe", "Startup": "startupProbe"}
_PATIENCE: Final = {"periodSeconds": 10, "failureThreshold": 3, "timeoutSeconds": 1, "initialDelaySeconds": 0}
"""What Kubernetes assumes where a probe does not say."""


@dataclass(frozen=True, slots=True)
class _Failing:
    """A probe that fails, with the event that says so."""

    container: Container
    event: Event
    field: str
    probe: Any

    @property
    def word(self) -> str:
        return self.field.removesuffix("Probe")

    def seconds(self, name: str) -> int:
        return int(dig(self.probe, name, default=_PATIENCE[name]))


def _failing(facts: Facts) -> Iterator[_Failing]:
    for ref, pod in live_pods(facts):
        for container in containers(ref, pod):
            if not container.status or (container.status.get("ready") and not killed_by_probe(facts, container)):
                continue
            if event := _failure(facts, container):
                field = _KINDS[event.message.partition(" ")[0]]
                yield _Failing(container, event, field, container.spec.get(field) or {})


def _failure(facts: Facts, container: Container) -> Event | None:
    """Return the newest failure that matters: one that kills before one that only keeps traffic away."""
    events = [
        event
        for event in facts.events_of(container.ref, "Unhealthy")
        if event.container in {"", container.name} and event.message.partition(" ")[0] in _KINDS
    ]
    killing = [event for event in events if not event.message.startswith("Readiness")]
    running = dig(container.status, "state", "running") or container.restarts
    return next(iter((killing if container.restarts else []) or events), None) if running else None


def _target(item: _Failing) -> str:
    """Return what the probe asks, such as `GET :8080/healthz`."""
    http, tcp, command = (item.probe.get(kind) for kind in ("httpGet", "tcpSocket", "exec"))
    if http:
        return f"GET :{http.get('port')}{http.get('path', '/')}"
    if tcp:
        return f"TCP :{tcp.get('port')}"
    return (
        f"command {' '.join(command.get('command', ()))[:80]!r}"
        if command
        else f"gRPC :{dig(item.probe, 'grpc', 'port')}"
    )


def _port(item: _Failing) -> Any:
    return first_port(item.probe)


def first_port(probe: Any) -> Any:
    """Return the port that a probe asks, or None."""
    return next((dig(probe, kind, "port") for kind in ("httpGet", "tcpSocket", "grpc") if dig(probe, kind)), None)


def _found(facts: Facts, item: _Failing, cause: str, *steps: Step) -> Found:
    owner = facts.owner(item.container.ref)
    pod, log_lines = facts.log_of(item.container.ref, item.container.name)
    lines = decisive(log_lines)
    log = Evidence(f"log of {pod}, {item.container.word}", " ⏎ ".join(lines))
    effect = (
        f" and has it restarted ({item.container.restarts} restarts)"
        if item.word != "readiness" and item.container.restarts
        else ""
    )
    return Found(
        owner,
        f"{item.container.word} of {owner} fails its {item.word} probe ({_target(item)}){effect}: {cause}",
        (quoted(item.event), *((log,) if lines else ())),
        steps,
    )


def _field(item: _Failing) -> str:
    return f"containers[{item.container.name}].{item.field}"


def _says(pattern: str) -> Callable[[str], Any]:
    return re.compile(pattern, re.IGNORECASE).search


_REFUSED: Final = _says(r"connection refused|connect: ")
_SLOW: Final = _says(r"deadline exceeded|timed? ?out|Client\.Timeout")
_STATUS: Final = _says(r"statuscode: (\d+)")


def _wrong_port(facts: Facts, item: _Failing) -> Found | None:
    port = _port(item)
    declared = [(each.get("containerPort"), each.get("name")) for each in item.container.spec.get("ports") or ()]
    known = {value for pair in declared for value in pair}
    if port is None or not declared or port in known or not (_REFUSED(item.event.message) or isinstance(port, str)):
        return None
    listens = ", ".join(str(number) for number, _ in declared)
    cause = f"the container's port is {listens}, not {port}"
    return _found(facts, item, cause, change(f"set {_field(item)} port to {declared[0][0]}"))


def _wrong_path(facts: Facts, item: _Failing) -> Found | None:
    status = _STATUS(item.event.message)
    if not status or status[1] not in {"404", "405"}:
        return None
    path = dig(item.probe, "httpGet", "path", default="/")
    return _found(
        facts, item, f"there is no {path} (status {status[1]})", change(f"correct {_field(item)}.httpGet.path")
    )


def _told_no(facts: Facts, item: _Failing) -> Found | None:
    status = _STATUS(item.event.message)
    if not status:
        return None
    log = read_log(item.container.ref, item.container.name)
    lines = decisive(facts.log_of(item.container.ref, item.container.name)[1])
    why = f"; its log: {lines[-1][:140]}" if lines else ""
    return _found(facts, item, f"the application answers with status {status[1]}{why}", log)


def _too_slow(facts: Facts, item: _Failing) -> Found | None:
    if not _SLOW(item.event.message):
        return None
    seconds = item.seconds("timeoutSeconds")
    step = change(f"raise {_field(item)}.timeoutSeconds above {seconds}, or make the check cheaper")
    return _found(facts, item, f"no answer within timeoutSeconds: {seconds}", step)


def _too_early(facts: Facts, item: _Failing) -> Found | None:
    if not _REFUSED(item.event.message) or item.word == "readiness" or not item.container.restarts:
        return None
    declared = item.container.spec.get("ports") or ()
    if not declared:
        return None
    given = item.seconds("initialDelaySeconds") + item.seconds("periodSeconds") * item.seconds("failureThreshold")
    step = change(
        f"add a startupProbe to containers[{item.container.name}], or raise {item.field}.initialDelaySeconds or "
        "failureThreshold"
    )
    return _found(facts, item, f"it does not listen yet after the {given} s it is given to start", step)


def _refused(facts: Facts, item: _Failing) -> Found | None:
    if not _REFUSED(item.event.message):
        return None
    step = change(f"correct the port of {_field(item)}, or have the process listen there on all addresses")
    return _found(
        facts, item, f"nothing listens on port {_port(item)}", step, read_log(item.container.ref, item.container.name)
    )


def _command(facts: Facts, item: _Failing) -> Found | None:
    if not dig(item.probe, "exec"):
        return None
    said = item.event.message.partition("failed: ")[2] or item.event.message.partition("errored: ")[2]
    return _found(
        facts, item, f"its command fails{': ' + said[:160] if said else ''}", change(f"correct {_field(item)}.exec")
    )


def _other(facts: Facts, item: _Failing) -> Found | None:
    said = item.event.message.partition(": ")[2][:200]
    return _found(facts, item, said, read_log(item.container.ref, item.container.name))


_SAYS: Final = "An Unhealthy event of a container that is not ready, or was restarted for it, says "

FAMILIES: Final = (
    Family(
        "Probes",
        _failing,
        (
            Rule(
                "probe-wrong-port",
                "The probe asks a port that the container does not have.",
                f"{_SAYS}the connection was refused, and the container declares other ports.",
                "Correct the probe's port.",
                _wrong_port,
            ),
            Rule(
                "probe-wrong-path",
                "The probe asks a path that the application does not have.",
                f"{_SAYS}status 404 or 405.",
                "Correct the probe's path.",
                _wrong_path,
            ),
            Rule(
                "probe-answers-no",
                "The application says itself that it is not well.",
                f"{_SAYS}another status than success; the log's lines that matter are quoted.",
                "Find out from its log what it waits for.",
                _told_no,
            ),
            Rule(
                "probe-too-slow",
                "The application answers later than the probe waits.",
                f"{_SAYS}that the time ran out.",
                "Raise timeoutSeconds or make the check cheaper.",
                _too_slow,
            ),
            Rule(
                "probe-too-early",
                "The container is restarted before it had the time to start.",
                f"{_SAYS}the connection was refused, on a port that the container declares, until it was restarted.",
                "Add a startup probe.",
                _too_early,
            ),
            Rule(
                "probe-refused",
                "Nothing listens where the probe asks.",
                f"{_SAYS}the connection was refused.",
                "Correct the port, or where the process listens.",
                _refused,
            ),
            Rule(
                "probe-command",
                "The probe's command fails.",
                f"{_SAYS}so, for a probe of kind exec.",
                "Correct the command.",
                _command,
            ),
            Rule(
                "probe-other", "The probe fails for another reason.", f"{_SAYS}why.", "Read the quoted message.", _other
            ),
        ),
    ),
)
