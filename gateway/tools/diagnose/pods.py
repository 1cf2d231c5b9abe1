"""Boundary between pods and rules: the containers of a pod, and the pods that count."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from gateway.tools.diagnose.facts import PODS, Facts, Ref
from gateway.tools.diagnose.objects import Obj, condition, dig


@dataclass(frozen=True)
class Container:
    """One container of a pod: what was asked for and what came of it."""

    ref: Ref
    pod: Obj
    name: str
    init: bool

    @cached_property
    def spec(self) -> Obj:
        """Its part of the pod's spec."""
        listed = (
            *dig(self.pod, "spec", "containers", default=()),
            *dig(self.pod, "spec", "initContainers", default=()),
        )
        found: Obj = next((c for c in listed if c.get("name") == self.name), {})
        return found

    @cached_property
    def status(self) -> Obj:
        """Its status, empty before the kubelet wrote one."""
        key = "initContainerStatuses" if self.init else "containerStatuses"
        found: Obj = next((s for s in dig(self.pod, "status", key, default=()) if s.get("name") == self.name), {})
        return found

    @property
    def waiting(self) -> str:
        """The reason it waits for, or nothing."""
        return str(dig(self.status, "state", "waiting", "reason", default=""))

    @property
    def waiting_message(self) -> str:
        """What the kubelet says about the waiting."""
        return str(dig(self.status, "state", "waiting", "message", default=""))

    @property
    def ended(self) -> Obj:
        """How it ended, now or the last time; empty if it never did."""
        now = dig(self.status, "state", "terminated", default=None)
        found: Obj = now or dig(self.status, "lastState", "terminated", default=None) or {}
        return found

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return int(self.status.get("restartCount") or 0)

    @property
    def word(self) -> str:
        """What it is called in a sentence."""
        return f"{'init container' if self.init else 'container'} {self.name}"


def containers(ref: Ref, pod: Obj) -> Iterator[Container]:
    """Yield a pod's containers, the init containers first, as they start."""
    for spec in dig(pod, "spec", "initContainers", default=()):
        yield Container(ref, pod, spec["name"], init=True)
    for spec in dig(pod, "spec", "containers", default=()):
        yield Container(ref, pod, spec["name"], init=False)


def live_pods(facts: Facts) -> Iterator[tuple[Ref, Obj]]:
    """Yield pods that are not on their way out, and not of a job that has succeeded meanwhile."""
    for ref, pod in facts.all(PODS):
        if not dig(pod, "metadata", "deletionTimestamp") and not condition(
            facts.objects.get(facts.owner(ref)), "Complete"
        ):
            yield ref, pod
