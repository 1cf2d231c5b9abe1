"""Boundary between what a caller waits for and what an object says of itself: pure verdicts, without I/O.

When a rollout is complete follows `kubectl rollout status` (k8s.io/kubectl, polymorphichelpers).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from gateway.errors import BadArgument
from gateway.kube.types import ResourceType

_ROLLED_OUT: Final = frozenset({"rolledout", "rollout", "rolloutcomplete", "rolloutstatus"})
_EXISTS: Final = frozenset({"exists", "exist", "create", "created", "present"})
_DELETED: Final = frozenset({"deleted", "delete", "gone", "absent"})
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9./_-]*").fullmatch
_MESSAGE: Final = 200
"""Characters of a condition's own message that are passed on."""

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an object is as wanted; `words` say how it is. `hopeless`: it will not become so by waiting."""

    done: bool
    words: str
    hopeless: bool = False


@dataclass(frozen=True, slots=True)
class Goal:
    """What is waited for: its name in answers, and the judge of one object. Of `exists` and `deleted` being is all."""

    shown: str
    judge: Callable[[Obj], Verdict]
    is_exists: bool = False
    is_deleted: bool = False


def goal_of(typed: str, kind: ResourceType) -> Goal:
    """Return the goal that `condition` means for this kind.

    Raises:
        BadArgument: It means none.
    """
    word = "".join(c for c in typed.lower() if c.isalnum())
    if word in _EXISTS:
        return Goal("exists", lambda _: Verdict(done=True, words="exists"), is_exists=True)
    if word in _DELETED:
        return Goal("deleted", _leaving, is_deleted=True)
    if word in _ROLLED_OUT:
        return Goal("rolled out", _rollout_of(kind))
    return _condition(typed)


def _leaving(item: Obj) -> Verdict:
    metadata = item.get("metadata") or {}
    if not metadata.get("deletionTimestamp"):
        return Verdict(done=False, words="exists, and nobody has asked for its deletion")
    held = [*(metadata.get("finalizers") or ()), *((item.get("spec") or {}).get("finalizers") or ())]
    by = f", held by finalizers {', '.join(map(str, held))}" if held else ""
    return Verdict(done=False, words=f"is being deleted since {metadata['deletionTimestamp']}{by}")


def _condition(typed: str) -> Goal:
    name, _, wanted = typed.removeprefix("condition=").partition("=")
    name, wanted = name.strip(), wanted.strip().strip("\"'") or "True"
    if not _WORD(name) or not wanted.isalnum():
        message = (
            f"No condition {typed[:60]!r}: use `rolled out`, `exists`, `deleted`, or the type of a condition in the "
            "object's status such as `Ready` or `Complete=True`."
        )
        raise BadArgument(message)
    shown = name if wanted.lower() == "true" else f"{name}={wanted}"

    def judge(item: Obj) -> Verdict:
        status = item.get("status") or {}
        found = next((c for c in _conditions(item) if str(c.get("type")).lower() == name.lower()), None)
        if found is None:
            # Pods, volumes and namespaces have a phase where others have conditions.
            phase = status.get("phase")
            if wanted.lower() == "true" and str(phase).lower() == name.lower():
                return Verdict(done=True, words=f"phase {phase}")
            words = f"has no condition {name} yet{f', phase {phase}' if phase else ''}"
            return Verdict(done=False, words=words, hopeless=_has_ended(item))
        if _outdated(item, found):
            return Verdict(done=False, words=f"{name} is not yet observed for generation {_generation(item)}")
        done = str(found.get("status")).lower() == wanted.lower()
        return Verdict(done=done, words=_said(found), hopeless=not done and _has_ended(item))

    return Goal(shown, judge)


def _outdated(item: Obj, condition: Obj) -> bool:
    observed = condition.get("observedGeneration") or (item.get("status") or {}).get("observedGeneration")
    return isinstance(observed, int) and observed < _generation(item)


def _has_ended(item: Obj) -> bool:
    """Whether it is a pod or a job that ended, whose conditions stay as they are."""
    status = item.get("status") or {}
    if item.get("kind") == "Pod":
        return status.get("phase") in {"Succeeded", "Failed"}
    if item.get("kind") == "Job":
        return any(c.get("type") in {"Complete", "Failed"} and c.get("status") == "True" for c in _conditions(item))
    return False


def _conditions(item: Obj) -> Iterator[Obj]:
    conditions = (item.get("status") or {}).get("conditions")
    return (c for c in conditions if isinstance(c, dict)) if isinstance(conditions, list) else iter(())


def _said(condition: Obj) -> str:
    words = f"{condition.get('type')}={condition.get('status')}"
    detail = ": ".join(str(condition[key]) for key in ("reason", "message") if condition.get(key))
    return f"{words} ({detail[:_MESSAGE]})" if detail else words


def _generation(item: Obj) -> int:
    return int((item.get("metadata") or {}).get("generation") or 0)


def _rollout_of(kind: ResourceType) -> Callable[[Obj], Verdict]:
    judges = {"deployments": _deployment, "statefulsets": _stateful_set, "daemonsets": _daemon_set}
    if kind.group == "apps" and kind.plural in judges:
        judge = judges[kind.plural]
        return lambda item: _observed(item) or judge(item)
    message = (
        f"{kind.kind} has no rollout: `rolled out` is for deployments, statefulsets and daemonsets. "
        "Wait for one of its conditions, such as `Ready` or `Complete`."
    )
    raise BadArgument(message)


def _observed(item: Obj) -> Verdict | None:
    if int((item.get("status") or {}).get("observedGeneration") or 0) < _generation(item):
        return Verdict(done=False, words="its controller has not yet taken note of the last change")
    return None


def _counts(item: Obj, *names: str) -> Iterator[int]:
    status = item.get("status") or {}
    return (int(status.get(name) or 0) for name in names)


def _deployment(item: Obj) -> Verdict:
    conditions = {str(c.get("type")): c for c in _conditions(item)}
    progressing = conditions.get("Progressing", {})
    spec = item.get("spec") or {}
    wanted = int(spec["replicas"]) if spec.get("replicas") is not None else 1
    updated, total, available = _counts(item, "updatedReplicas", "replicas", "availableReplicas")
    if updated < wanted:
        words = f"{updated} of {wanted} replicas are updated"
    elif total > updated:
        words = f"{total - updated} old replicas are still ending"
    elif available < updated:
        words = f"{available} of {updated} updated replicas are available"
    else:
        return Verdict(done=True, words=f"{available} of {wanted} replicas are updated and available")
    failure = conditions.get("ReplicaFailure", {})
    if failure.get("status") == "True":
        words += f"; {_said(failure)}"
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return Verdict(done=False, words=f"{words}; {_said(progressing)}", hopeless=True)
    return Verdict(done=False, words=words + ("; it is paused" if spec.get("paused") else ""))


def _stateful_set(item: Obj) -> Verdict:
    spec, status = item.get("spec") or {}, item.get("status") or {}
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return _by_hand("statefulset")
    wanted = int(spec["replicas"]) if spec.get("replicas") is not None else 1
    ready, updated = _counts(item, "readyReplicas", "updatedReplicas")
    partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    if ready < wanted:
        return Verdict(done=False, words=f"{ready} of {wanted} replicas are ready")
    if partition:
        due = max(0, wanted - partition)
        words = f"{updated} of {due} replicas above partition {partition} are updated"
        return Verdict(done=updated >= due, words=words)
    if status.get("updateRevision") != status.get("currentRevision"):
        words = f"{updated} of {wanted} replicas are updated to revision {status.get('updateRevision')}"
        return Verdict(done=False, words=words)
    return Verdict(done=True, words=f"{ready} of {wanted} replicas are updated and ready")


def _daemon_set(item: Obj) -> Verdict:
    if ((item.get("spec") or {}).get("updateStrategy") or {}).get("type") == "OnDelete":
        return _by_hand("daemonset")
    wanted, updated, available = _counts(item, "desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
    if updated < wanted:
        return Verdict(done=False, words=f"{updated} of {wanted} pods are updated")
    if available < wanted:
        return Verdict(done=False, words=f"{available} of {wanted} updated pods are available")
    return Verdict(done=True, words=f"{available} of {wanted} pods are updated and available")


def _by_hand(kind: str) -> Verdict:
    words = f"this {kind} has the update strategy OnDelete: its pods are replaced only when somebody deletes them"
    return Verdict(done=False, words=words, hopeless=True)
