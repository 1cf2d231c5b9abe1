"""Boundary between a rule and what is made of it: what a rule is, and what it finds.

A rule is a small pure function over facts with a stable id and its documentation. A family is a table of them over the
same kind of item; where it is exclusive, the first rule that finds something about an item has the word.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from gateway.tools.diagnose.facts import Event, Facts, Ref

Severity = Literal["critical", "warning", "notice"]
"""`critical`: it does not work. `warning`: it will not, or not well. `notice`: unusual, perhaps on purpose."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A quotation and where it comes from."""

    source: str
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next: a call of one of this gateway's tools, or a change of an object's manifest."""

    tool: str = ""
    arguments: Mapping[str, Any] | None = None
    change: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule found: the cause in a sentence that names `subject` and the decisive value.

    With `because` it is a symptom: a finding about any of those objects explains it and takes its place; a `silent` one
    is dropped where nothing does.
    """

    subject: Ref
    cause: str
    evidence: tuple[Evidence, ...] = ()
    steps: tuple[Step, ...] = ()
    because: tuple[Ref, ...] = ()
    severity: Severity | None = None
    silent: bool = False


Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Rule(Generic[Item]):
    """One rule: `means`, `known` and `do` are its documentation, `find` is its judgement of one item."""

    id: str
    means: str
    known: str
    do: str
    find: Callable[[Facts, Item], Found | None]
    severity: Severity = "critical"


@dataclass(frozen=True, slots=True)
class Family(Generic[Item]):
    """A table of rules over the same items."""

    title: str
    items: Callable[[Facts], Iterable[Item]]
    rules: tuple[Rule[Item], ...]
    exclusive: bool = True


def quotation(text: str) -> str:
    """Put what was said in the cluster into quotation marks that it can't close."""
    return "“" + text.replace("”", '"') + "”"


def quoted(event: Event) -> Evidence:
    """Quote an event."""
    return Evidence(event.source, event.message)


def read(ref: Ref, **more: Any) -> Step:
    """Read an object with this gateway."""
    where = {"namespace": ref.namespace} if ref.namespace else {}
    return Step("resource_get", {"resource": ref.resource, "name": ref.name, **where, **more})


def read_log(pod: Ref, container: str, *, previous: bool = False) -> Step:
    """Read a container's log with this gateway."""
    parameters = {"container": container, **({"previous": True} if previous else {})}
    return read(pod, subresource="logs", parameters=parameters)


def listed(resource: str, namespace: str = "", **more: Any) -> Step:
    """List objects with this gateway."""
    where = {"namespace": namespace} if namespace else {}
    return Step("resource_list", {"resource": resource, **where, **more})


def diagnose(ref: Ref) -> Step:
    """Ask about another object."""
    where = {"namespace": ref.namespace} if ref.namespace else {}
    return Step("diagnose", {"resource": ref.resource, "name": ref.name, **where})


def change(text: str) -> Step:
    """Change a manifest."""
    return Step(change=text)
