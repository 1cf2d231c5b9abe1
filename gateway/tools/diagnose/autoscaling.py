"""Rules about autoscalers: metrics that are missing, targets that are missing, limits that are reached."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from gateway.tools.diagnose.facts import AUTOSCALERS, KINDS, Facts, Ref
from gateway.tools.diagnose.objects import Obj, condition, dig
from gateway.tools.diagnose.rules import Evidence, Family, Found, Rule, change, listed, read


@dataclass(frozen=True, slots=True)
class _Scaler:
    """An autoscaler and what it scales."""

    ref: Ref
    item: Obj
    target: Ref


def _scalers(facts: Facts) -> Iterator[_Scaler]:
    for ref, item in facts.all(AUTOSCALERS):
        aimed = dig(item, "spec", "scaleTargetRef", default={})
        resource = KINDS.get(aimed.get("kind", ""), str(aimed.get("kind", "")).lower())
        target = Ref(resource, ref.namespace, aimed.get("name", ""))
        if facts.target.resource not in {AUTOSCALERS, "namespaces"} and facts.target != target:
            continue
        yield _Scaler(ref, item, target)


def _said(scaler: _Scaler, kind: str, status: str) -> Any:
    return condition(scaler.item, kind, status) or {}


def _evidence(scaler: _Scaler, kind: str, said: Any) -> tuple[Evidence, ...]:
    return (Evidence(f"condition {kind} of {scaler.ref}", f"{said.get('reason', '')}: {said.get('message', '')}"),)


def _no_target(_: Facts, scaler: _Scaler) -> Found | None:
    said = _said(scaler, "AbleToScale", "False")
    if said.get("reason") != "FailedGetScale":
        return None
    cause = f"{scaler.ref} can't scale {scaler.target}: {said.get('message', '')[:160]}"
    step = change(f"correct spec.scaleTargetRef of {scaler.ref}")
    return Found(scaler.ref, cause, _evidence(scaler, "AbleToScale", said), (step,))


def _no_request(_: Facts, scaler: _Scaler) -> Found | None:
    said = _said(scaler, "ScalingActive", "False")
    if "missing request for" not in said.get("message", ""):
        return None
    name = said["message"].partition("missing request for ")[2].split()[0].strip(",;")
    cause = f"{scaler.ref} can't count: the containers of {scaler.target} don't request {name}"
    step = change(f"set resources.requests.{name} of each container of {scaler.target}")
    return Found(scaler.ref, cause, _evidence(scaler, "ScalingActive", said), (step,), severity="warning")


def _disabled(_: Facts, scaler: _Scaler) -> Found | None:
    said = _said(scaler, "ScalingActive", "False")
    if said.get("reason") != "ScalingDisabled":
        return None
    cause = f"{scaler.ref} does nothing while {scaler.target} is scaled to zero"
    return Found(scaler.ref, cause, _evidence(scaler, "ScalingActive", said), severity="notice")


def _no_metrics(_: Facts, scaler: _Scaler) -> Found | None:
    said = _said(scaler, "ScalingActive", "False")
    if not said:
        return None
    cause = f"{scaler.ref} does not scale {scaler.target}: it gets no metrics: {said.get('message', '')[-170:]}"
    step = read(Ref("apiservices.apiregistration.k8s.io", "", "v1beta1.metrics.k8s.io"))
    found = _evidence(scaler, "ScalingActive", said)
    return Found(scaler.ref, cause, found, (step, listed("pods", "kube-system")), (scaler.target,), "warning")


def _at_limit(_: Facts, scaler: _Scaler) -> Found | None:
    said = _said(scaler, "ScalingLimited", "True")
    most = dig(scaler.item, "spec", "maxReplicas")
    if said.get("reason") != "TooManyReplicas" or dig(scaler.item, "status", "currentReplicas", default=0) < most:
        return None
    cause = f"{scaler.ref} is at its limit: it wants more than maxReplicas: {most} pods of {scaler.target}"
    step = change(f"raise spec.maxReplicas of {scaler.ref} above {most}, or the requests the load is measured against")
    return Found(scaler.ref, cause, _evidence(scaler, "ScalingLimited", said), (step,))


FAMILIES: Final = (
    Family(
        "Autoscaling",
        _scalers,
        (
            Rule(
                "autoscaler-target-missing",
                "What it should scale does not exist.",
                "Condition AbleToScale is False with FailedGetScale.",
                "Correct scaleTargetRef.",
                _no_target,
            ),
            Rule(
                "autoscaler-no-request",
                "Utilisation can't be computed without requests.",
                "Condition ScalingActive is False and says `missing request`.",
                "Set requests.",
                _no_request,
                "warning",
            ),
            Rule(
                "autoscaler-disabled",
                "The target is scaled to zero by hand.",
                "Condition ScalingActive is False with ScalingDisabled.",
                "Nothing, if it is meant.",
                _disabled,
                "notice",
            ),
            Rule(
                "autoscaler-no-metrics",
                "It gets no metrics.",
                "Condition ScalingActive is False; pods that don't run take this one's place.",
                "Install or mend the metrics server or adapter.",
                _no_metrics,
                "warning",
            ),
            Rule(
                "autoscaler-at-limit",
                "It would scale further but may not.",
                "Condition ScalingLimited is True with TooManyReplicas, at maxReplicas.",
                "Raise maxReplicas.",
                _at_limit,
                "warning",
            ),
        ),
    ),
)
