"""Rules about volume claims: classes, provisioners, modes, lost and leaving volumes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from gateway.tools.diagnose.facts import CLAIMS, PODS, STORAGE_CLASSES, VOLUMES, Event, Facts, Ref
from gateway.tools.diagnose.objects import Obj, condition, dig, quantity
from gateway.tools.diagnose.rules import Evidence, Family, Found, Rule, change, listed, quoted, read

_DEFAULT: Final = "storageclass.kubernetes.io/is-default-class"
_PATIENCE: Final = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class _Claim:
    """A volume claim that is not simply bound, and the newest thing said about it."""

    ref: Ref
    item: Obj
    event: Event | None

    @property
    def phase(self) -> str:
        return str(dig(self.item, "status", "phase", default="Pending"))

    @property
    def wanted_class(self) -> str | None:
        """The class it asks for: None where it leaves that to the default, empty where it wants none."""
        found: str | None = dig(self.item, "spec", "storageClassName")
        return found

    def evidence(self) -> tuple[Evidence, ...]:
        named = (
            f"phase {self.phase}, storageClassName: {self.wanted_class if self.wanted_class is not None else 'none'}"
        )
        return (*((quoted(self.event),) if self.event else ()), Evidence(str(self.ref), named))

    def says(self, *words: str) -> bool:
        return self.event is not None and any(word in self.event.message for word in words)


def _claims(facts: Facts) -> Iterator[_Claim]:
    for ref, item in facts.all(CLAIMS):
        events = facts.events_of(ref)
        yield _Claim(ref, item, events[0] if events else None)


def _class_missing(facts: Facts, claim: _Claim) -> Found | None:
    name = claim.wanted_class
    if claim.phase != "Pending" or not name:
        return None
    said = claim.event and re.search(r'storageclass[^"]*"([^"]+)" not found', claim.event.message)
    if not said and not facts.is_absent(STORAGE_CLASSES, "", name):
        return None
    if not said and _matching_volume(facts, name):
        return None
    known = ", ".join(ref.name for ref, _ in facts.all(STORAGE_CLASSES)) or "none"
    cause = f"{claim.ref} wants storage class {name!r}, which does not exist; there is {known}"
    step = change("create the claim again with an existing storageClassName (the field can't be changed)")
    return Found(claim.ref, cause, claim.evidence(), (step, listed("storageclasses")))


def _matching_volume(facts: Facts, name: str) -> bool:
    # Volumes made by hand may carry a class that nobody defined.
    return any(dig(each, "spec", "storageClassName") == name for _, each in facts.all(VOLUMES))


def _no_default(facts: Facts, claim: _Claim) -> Found | None:
    if claim.phase != "Pending" or claim.wanted_class:
        return None
    unset = claim.says("no storage class is set", "no persistent volumes available for this claim")
    if not unset and (facts.age(dig(claim.item, "metadata", "creationTimestamp")) < _PATIENCE or _has_default(facts)):
        return None
    known = ", ".join(ref.name for ref, _ in facts.all(STORAGE_CLASSES)) or "none"
    cause = f"{claim.ref} names no storage class and the cluster has no default one; there is {known}"
    step = change(f"set storageClassName of {claim.ref}, or mark a class as the default")
    return Found(claim.ref, cause, claim.evidence(), (step, listed("storageclasses")))


def _has_default(facts: Facts) -> bool:
    if (STORAGE_CLASSES, "") not in facts.complete:
        return True
    classes = (item for _, item in facts.all(STORAGE_CLASSES))
    return any(dig(each, "metadata", "annotations", default={}).get(_DEFAULT) == "true" for each in classes)


def _waits_for_pod(_: Facts, claim: _Claim) -> Found | None:
    if claim.phase != "Pending" or not claim.says("waiting for first consumer", "waiting for pod"):
        return None
    cause = f"{claim.ref} gets its volume when a pod that uses it is placed (WaitForFirstConsumer)"
    return Found(claim.ref, cause, claim.evidence(), severity="notice")


def _mode(facts: Facts, claim: _Claim) -> Found | None:
    if claim.phase != "Pending":
        return None
    wanted = set(dig(claim.item, "spec", "accessModes", default=()))
    free = [
        (ref, item)
        for ref, item in facts.all(VOLUMES)
        if dig(item, "spec", "storageClassName", default="") == (claim.wanted_class or "")
        and dig(item, "status", "phase") == "Available"
    ]
    for ref, item in free:
        offered = set(dig(item, "spec", "accessModes", default=()))
        if not wanted <= offered:
            modes = f"access mode {', '.join(sorted(wanted))}, and {ref} offers {', '.join(sorted(offered))}"
            return _unfit(claim, ref, modes)
        asked = dig(claim.item, "spec", "resources", "requests", "storage", default="0")
        size = dig(item, "spec", "capacity", "storage", default="0")
        if quantity(asked) > quantity(size):
            return _unfit(claim, ref, f"{asked}, and {ref} has {size}")
    return None


def _unfit(claim: _Claim, ref: Ref, why: str) -> Found:
    step = change(f"create {claim.ref} again with what {ref} offers")
    return Found(claim.ref, f"{claim.ref} finds no volume: it wants {why}", claim.evidence(), (step, read(ref)))


def _failed(_: Facts, claim: _Claim) -> Found | None:
    if claim.event is None or claim.event.reason not in {"ProvisioningFailed", "VolumeResizeFailed", "FailedBinding"}:
        return None
    if claim.phase == "Bound" and claim.event.reason != "VolumeResizeFailed":
        return None
    said = claim.event.message.rpartition("desc = ")[2][:180]
    return Found(claim.ref, f"{claim.ref} gets no volume: {said}", claim.evidence(), (read(claim.ref),))


def _no_provisioner(facts: Facts, claim: _Claim) -> Found | None:
    age = facts.age(dig(claim.item, "metadata", "creationTimestamp"))
    if claim.phase != "Pending" or age < _PATIENCE:
        return None
    said = claim.event and re.search(
        r"external provisioner '([^']+)'|by the external provisioner \"([^\"]+)\"", claim.event.message
    )
    kind = facts.get(STORAGE_CLASSES, "", claim.wanted_class or "")
    name = (said and (said[1] or said[2])) or dig(kind, "provisioner")
    if not name or dig(kind, "volumeBindingMode") == "WaitForFirstConsumer":
        return None
    if name == "kubernetes.io/no-provisioner":
        cause = (
            f"{claim.ref} waits for a volume that somebody makes by hand: class {claim.wanted_class} has no provisioner"
        )
    else:
        cause = f"{claim.ref} waits for provisioner {name}, which does not answer; it seems not to run"
    return Found(claim.ref, cause, claim.evidence(), (listed("csidrivers"), listed("storageclasses")))


def _lost(_: Facts, claim: _Claim) -> Found | None:
    if claim.phase != "Lost":
        return None
    volume = dig(claim.item, "spec", "volumeName", default="")
    cause = f"{claim.ref} has lost its volume {volume}, which does not exist any more"
    return Found(
        claim.ref, cause, claim.evidence(), (change("restore the volume, or create the claim again without its data"),)
    )


def _leaving(facts: Facts, claim: _Claim) -> Found | None:
    since = dig(claim.item, "metadata", "deletionTimestamp")
    if not since or facts.age(since) < _PATIENCE:
        return None
    users = [
        ref
        for ref, pod in facts.all(PODS, namespace=claim.ref.namespace)
        for volume in dig(pod, "spec", "volumes", default=())
        if dig(volume, "persistentVolumeClaim", "claimName") == claim.ref.name
    ]
    held = (
        f"{users[0]} still uses it"
        if users
        else f"finalizer {', '.join(dig(claim.item, 'metadata', 'finalizers', default=()))}"
    )
    evidence = Evidence(f"metadata of {claim.ref}", f"deletionTimestamp {since}, finalizers kept")
    steps = (read(users[0]),) if users else (read(claim.ref),)
    return Found(claim.ref, f"{claim.ref} can't be deleted: {held}", (evidence,), steps, severity="warning")


def _resizing(facts: Facts, claim: _Claim) -> Found | None:
    said = condition(claim.item, "FileSystemResizePending")
    if said is None or facts.age(said.get("lastTransitionTime")) < timedelta(minutes=5):
        return None
    cause = f"{claim.ref} is enlarged, but its file system only grows when its pod starts again"
    return Found(claim.ref, cause, (Evidence(f"condition of {claim.ref}", str(said.get("message", ""))),))


FAMILIES: Final = (
    Family(
        "Storage",
        _claims,
        (
            Rule(
                "storage-lost",
                "The volume behind a claim is gone.",
                "Phase Lost.",
                "Restore the volume, or start without its data.",
                _lost,
            ),
            Rule(
                "storage-unfit",
                "The free volumes of its class don't fit.",
                "Access modes and sizes of the available volumes are compared.",
                "Ask for what they offer.",
                _mode,
            ),
            Rule(
                "storage-class-missing",
                "The storage class does not exist.",
                "The claim is Pending and an event says so, or the class is not in the list.",
                "Name an existing class.",
                _class_missing,
            ),
            Rule(
                "storage-waits-for-pod",
                "The class makes volumes only when a pod is placed.",
                "An event says WaitForFirstConsumer.",
                "Nothing; look at the pod if it is not placed.",
                _waits_for_pod,
                "notice",
            ),
            Rule(
                "storage-no-class",
                "The claim names no class and there is no default.",
                "The claim is Pending, without a class; the list of classes has no default.",
                "Name a class or mark a default.",
                _no_default,
            ),
            Rule(
                "storage-refused",
                "The provisioner fails.",
                "A ProvisioningFailed event, quoted.",
                "Read the quoted message.",
                _failed,
            ),
            Rule(
                "storage-no-provisioner",
                "The provisioner of the class does not answer.",
                "The claim is Pending and waits for it.",
                "Install or mend the provisioner.",
                _no_provisioner,
            ),
            Rule(
                "storage-leaving",
                "A claim can't be deleted because it is in use.",
                "deletionTimestamp is set and a pod uses it.",
                "End the pod first.",
                _leaving,
                "warning",
            ),
            Rule(
                "storage-resize",
                "A claim was enlarged, its file system not yet.",
                "Condition FileSystemResizePending for minutes.",
                "Restart the pod.",
                _resizing,
                "warning",
            ),
        ),
    ),
)
