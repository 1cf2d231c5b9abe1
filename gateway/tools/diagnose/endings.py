"""Boundary between containers that end and the rules about why: which they are, and what is said about their end."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from gateway.tools.diagnose.facts import Facts, Ref
from gateway.tools.diagnose.logs import decisive, plain
from gateway.tools.diagnose.objects import ago, dig, when
from gateway.tools.diagnose.pods import Container, containers, live_pods
from gateway.tools.diagnose.rules import Evidence, Found, Severity, Step, read_log

_RECENT: Final = timedelta(hours=1)
"""A container that restarted longer ago and runs since is not in trouble."""
_JUST_NOW: Final = timedelta(minutes=10)
_OFTEN: Final = 3
"""Restarts from which on one that runs again is not trusted."""
_KILLED: Final = re.compile(r"failed (liveness|startup) probe").search
_FAILED: Final = re.compile(r"^(Liveness|Startup) probe (failed|errored)").search
_ENDED_FROM_OUTSIDE: Final = frozenset({0, 137, 143})
"""Exit codes of a process that was told to end: by itself, by SIGKILL, by SIGTERM."""
_LOOPS: Final = frozenset({"CrashLoopBackOff", "RunContainerError", "CreateContainerError"})


def troubled(facts: Facts) -> Iterator[Container]:
    """Yield containers that end when they should not, or did so within the last hour."""
    for ref, pod in live_pods(facts):
        if dig(pod, "status", "reason") == "Evicted":
            continue
        for container in containers(ref, pod):
            if _is_troubled(facts, container) and not killed_by_probe(facts, container):
                yield container


def killed_by_probe(facts: Facts, container: Container) -> bool:
    """Whether the kubelet ended it because a probe failed."""
    if not container.restarts:
        return False
    outside = container.ended.get("exitCode") in _ENDED_FROM_OUTSIDE and container.ended.get("reason") != "OOMKilled"
    return any(
        event.container in {"", container.name} and (_KILLED(event.message) or (outside and _FAILED(event.message)))
        for event in facts.events_of(container.ref, "Killing", "Unhealthy")
    )


def _is_troubled(facts: Facts, container: Container) -> bool:
    ended = container.ended
    if container.waiting in _LOOPS:
        return True
    if not ended:
        return False
    code = int(ended.get("exitCode") or 0)
    if dig(container.status, "state", "terminated"):
        over = dig(container.pod, "status", "phase") == "Succeeded" or (container.init and not code)
        return not over and (bool(code) or ended.get("reason") == "OOMKilled" or container.restarts > 1)
    return bool(code) and facts.age(ended.get("finishedAt")) < _RECENT


def _about(facts: Facts, container: Container) -> str:
    return f"{container.word} of {facts.owner(container.ref)}"


def _severity(facts: Facts, container: Container) -> Severity:
    """Return what it means at the moment: one that runs again is a warning, one that did so once some time ago less."""
    if not (dig(container.status, "state", "running") and container.status.get("ready")):
        return "critical"
    again = container.restarts >= _OFTEN or container.ended.get("reason") == "OOMKilled"
    return "warning" if again or facts.age(container.ended.get("finishedAt")) < _JUST_NOW else "notice"


def _status(facts: Facts, container: Container) -> Evidence:
    ended = container.ended
    parts = [f"exit code {ended.get('exitCode', '?')}"] if ended else []
    parts += [str(ended[key]) for key in ("reason",) if ended.get(key)]
    if ended.get("message"):
        parts.append(plain(str(ended["message"]))[:300])
    if container.restarts:
        parts.append(f"{container.restarts} restarts")
    if when(ended.get("finishedAt")):
        parts.append(f"last {ago(facts.age(ended['finishedAt']))} ago")
    if container.waiting:
        parts.append(container.waiting)
    return Evidence(f"status of {container.ref}, {container.word}", ", ".join(parts))


def log_lines(facts: Facts, container: Container) -> tuple[str, ...]:
    """Return the lines that matter of the log of its last run."""
    return decisive(facts.log_of(container.ref, container.name)[1])


def _evidence(facts: Facts, container: Container) -> tuple[Evidence, ...]:
    lines = log_lines(facts, container)
    source = f"log of {facts.log_of(container.ref, container.name)[0]}, {container.word}"
    quoted = (Evidence(source, " ⏎ ".join(lines)),) if lines else ()
    return (_status(facts, container), *quoted)


def log_step(container: Container) -> Step:
    """Read the log of its last run."""
    before = not dig(container.status, "state", "terminated")
    return read_log(container.ref, container.name, previous=before)


def all_words(facts: Facts, container: Container) -> str:
    """Return everything said about the end: the runtime's words and the log lines that matter."""
    message = str(container.ended.get("message") or container.waiting_message)
    return "\n".join((message, *log_lines(facts, container)))


def finding(facts: Facts, container: Container, cause: str, *steps: Step, because: tuple[Ref, ...] = ()) -> Found:
    """Make what a rule found: the container of its workload, and why it ends; status and log are the evidence."""
    return Found(
        facts.owner(container.ref),
        f"{_about(facts, container)} {cause}",
        _evidence(facts, container),
        steps,
        because,
        _severity(facts, container),
    )
