"""Rules about pods and objects that are refused: quotas, limit ranges, pod security, webhooks, immutable fields."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from gateway.tools.diagnose.facts import DAEMON_SETS, DEPLOYMENTS, JOBS, QUOTAS, REPLICA_SETS, STATEFUL_SETS, Facts, Ref
from gateway.tools.diagnose.objects import condition, dig, quantity
from gateway.tools.diagnose.rules import Evidence, Family, Found, Rule, Step, change, listed, quoted, read

_RECENT: Final = timedelta(minutes=30)
_REFUSALS: Final = (
    "FailedCreate",
    "FailedUpdate",
    "ReplicaSetCreateError",
    "FailedApply",
    "ReconcileError",
    "UpgradeFailed",
)
_MAKERS: Final = (DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS, JOBS)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What a controller was told when it tried to make something."""

    subject: Ref
    words: str
    evidence: Evidence


def _refusals(facts: Facts) -> Iterator[_Refusal]:
    seen = set()
    for ref, item in facts.all(*_MAKERS):
        failure = condition(item, "ReplicaFailure")
        if failure:
            owner = facts.owner(ref)
            if (owner, failure.get("message")) not in seen:
                seen.add((owner, failure.get("message")))
                words = str(failure.get("message", ""))
                yield _Refusal(owner, words, Evidence(f"condition ReplicaFailure of {ref}", words))
    for event in facts.events:
        if event.reason not in _REFUSALS or not event.last or facts.now - event.last > _RECENT:
            continue
        owner = facts.owner(event.about)
        if _is_whole(facts, owner) or owner in {subject for subject, _ in seen}:
            continue
        seen.add((owner, event.message))
        yield _Refusal(owner, event.message, quoted(event))


def _is_whole(facts: Facts, ref: Ref) -> bool:
    """Whether the workload has all its pods by now, so that an older refusal is over."""
    item = facts.objects.get(ref)
    if item is None:
        return False
    has = dig(item, "status", "replicas", default=dig(item, "status", "currentNumberScheduled"))
    wanted = dig(item, "spec", "replicas", default=dig(item, "status", "desiredNumberScheduled"))
    done = condition(item, "Complete") or dig(item, "status", "active", default=0)
    return bool(done) or (has is not None and has == wanted and ref.resource != JOBS)


def _found(item: _Refusal, cause: str, *steps: Step, because: tuple[Ref, ...] = ()) -> Found:
    return Found(item.subject, f"{item.subject} can't make its pods: {cause}", (item.evidence,), steps, because)


def _quota(facts: Facts, item: _Refusal) -> Found | None:
    match = re.search(r"exceeded quota: ([^,]+), requested: (.+?), used: (.+?), limited: (.+)", item.words)
    if match is None:
        return None
    ref = Ref(QUOTAS, item.subject.namespace, match[1])
    surge = dig(facts.objects.get(item.subject), "spec", "strategy", "rollingUpdate", "maxSurge")
    during = (
        f"; during a rollout maxSurge ({surge}) asks for more than the quota leaves"
        if surge not in {None, 0, "0", "0%"} and _is_rolling(facts, item.subject)
        else ""
    )
    cause = f"{ref} is reached ({match[4].strip()}; used {match[3]}, requested {match[2]}){during}"
    step = change(
        f"raise spec.hard of {ref}, lower what {item.subject} requests{', or set maxSurge to 0' if during else ''}"
    )
    return _found(item, cause, step, read(ref))


def _is_rolling(facts: Facts, ref: Ref) -> bool:
    status: Any = dig(facts.objects.get(ref), "status", default={})
    return bool(status.get("replicas")) and status.get("updatedReplicas", 0) < status.get("replicas", 0)


def _quota_unset(_: Facts, item: _Refusal) -> Found | None:
    match = re.search(r"failed quota: ([^:]+): must specify (.+)", item.words)
    if match is None:
        return None
    ref = Ref(QUOTAS, item.subject.namespace, match[1])
    cause = f"{ref} demands that each container says {match[2][:120]}"
    return _found(item, cause, change(f"set the resources of the containers of {item.subject}"), read(ref))


def _limit_range(_: Facts, item: _Refusal) -> Found | None:
    match = re.search(r"((?:maximum|minimum) \w+ usage per \w+ is [^,\]]+(?:, but \w+ is [^\].]+)?)", item.words)
    if match is None:
        return None
    step = change(f"bring the resources of the containers of {item.subject} within the namespace's LimitRange")
    return _found(item, f"a LimitRange forbids it: {match[1]}", step, listed("limitranges", item.subject.namespace))


def _pod_security(_: Facts, item: _Refusal) -> Found | None:
    match = re.search(r'violates PodSecurity "([^"]+)": (.+)', item.words)
    if match is None:
        return None
    step = change(
        f"change the securityContext of {item.subject} as the message says, or the namespace's pod-security label"
    )
    return _found(item, f"Pod Security {match[1]!r} forbids it: {match[2][:160]}", step)


def _service_account(_: Facts, item: _Refusal) -> Found | None:
    match = re.search(r'serviceaccount "([^"]+)" not found', item.words)
    if match is None:
        return None
    step = change(f"correct serviceAccountName of {item.subject}, or have somebody create the account")
    return _found(item, f"its service account {match[1]!r} does not exist (said by the controller)", step)


def _webhook(_: Facts, item: _Refusal) -> Found | None:
    match = re.search(r'admission webhook "([^"]+)" denied the request:? ?(.*)', item.words)
    if match is None:
        return None
    return _found(
        item, f"admission webhook {match[1]} denies it: {match[2][:160]}", change(f"change {item.subject} as it says")
    )


def _webhook_down(_: Facts, item: _Refusal) -> Found | None:
    match = re.search(r'failed calling webhook "([^"]+)": (.*)', item.words)
    if match is None:
        return None
    step = listed("validatingwebhookconfigurations")
    return _found(item, f"admission webhook {match[1]} can't be asked: {match[2][-160:]}", step)


def _immutable(_: Facts, item: _Refusal) -> Found | None:
    if "immutable" not in item.words:
        return None
    field = re.search(r"([\w.\[\]]+): Invalid value", item.words)
    cause = f"{item.subject} can't be changed: {field[1] if field else 'the field'} is immutable"
    step = change(f"delete {item.subject} and create it again with the new value, or leave the field as it is")
    return Found(item.subject, cause, (item.evidence,), (step,))


def _priority(_: Facts, item: _Refusal) -> Found | None:
    match = re.search(r"no PriorityClass with name (\S+) was found", item.words)
    if match is None:
        return None
    step = listed("priorityclasses")
    return _found(item, f"its priority class {match[1]} does not exist", change("correct priorityClassName"), step)


def _other(_: Facts, item: _Refusal) -> Found | None:
    return _found(item, item.words[:200])


@dataclass(frozen=True, slots=True)
class _Quota:
    """One resource of one quota."""

    ref: Ref
    name: str
    used: str
    hard: str


def _full(facts: Facts) -> Iterator[_Quota]:
    for ref, item in facts.all(QUOTAS):
        used, hard = (dig(item, "status", key, default={}) for key in ("used", "hard"))
        for name in hard:
            if quantity(used.get(name)) >= quantity(hard[name]) > 0:
                yield _Quota(ref, name, used[name], hard[name])


def _is_full(_: Facts, quota: _Quota) -> Found:
    cause = f"{quota.ref} is used up: {quota.name} {quota.used} of {quota.hard}, so nothing more of it can be made"
    step = change(f"raise spec.hard[{quota.name}] of {quota.ref}")
    return Found(
        quota.ref, cause, (Evidence(f"status of {quota.ref}", f"used {quota.used}, hard {quota.hard}"),), (step,)
    )


_Find = Callable[[Facts, _Refusal], Found | None]


def _rule(id_: str, means: str, known: str, do: str, find: _Find) -> Rule[_Refusal]:
    return Rule(id_, means, f"A ReplicaFailure condition or a FailedCreate event says {known}.", do, find)


FAMILIES: Final = (
    Family(
        "Admission and quota",
        _refusals,
        (
            _rule(
                "admission-quota", "A quota is reached.", "`exceeded quota`", "Raise the quota or ask for less.", _quota
            ),
            _rule(
                "admission-quota-unset",
                "A quota counts something that the containers don't state.",
                "`must specify`",
                "State requests and limits.",
                _quota_unset,
            ),
            _rule(
                "admission-limit-range",
                "A LimitRange forbids the pod's size.",
                "`maximum ... usage` or `minimum ... usage`",
                "Keep within it.",
                _limit_range,
            ),
            _rule(
                "admission-pod-security",
                "The namespace's Pod Security level forbids the pod.",
                "`violates PodSecurity`",
                "Change the security context or the level.",
                _pod_security,
            ),
            _rule(
                "admission-service-account",
                "The service account that the pod names does not exist.",
                "so; accounts themselves are never looked up",
                "Correct the name.",
                _service_account,
            ),
            _rule(
                "admission-webhook",
                "A webhook denies it.",
                "`denied the request`",
                "Do what the message says.",
                _webhook,
            ),
            _rule(
                "admission-webhook-down",
                "A webhook that must be asked does not answer.",
                "`failed calling webhook`",
                "Mend the webhook's service, or remove the webhook.",
                _webhook_down,
            ),
            _rule(
                "admission-priority-class",
                "The priority class does not exist.",
                "`no PriorityClass`",
                "Correct the name.",
                _priority,
            ),
            _rule(
                "admission-immutable",
                "A change touches a field that can't be changed.",
                "`field is immutable`",
                "Create the object again.",
                _immutable,
            ),
            _rule("admission-other", "It is refused for another reason.", "why", "Read the quoted message.", _other),
        ),
    ),
    Family(
        "Quotas used up",
        _full,
        (
            Rule(
                "quota-used-up",
                "A quota has nothing left; what exists goes on working.",
                "Its status: used has reached hard.",
                "Raise it before something more is made.",
                _is_full,
                "notice",
            ),
        ),
    ),
)
