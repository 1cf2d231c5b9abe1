"""Boundary between facts and findings: every rule is asked, equal findings become one, causes outrank symptoms."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from gateway.tools.diagnose.facts import Facts, Ref
from gateway.tools.diagnose.links import is_wide, mine
from gateway.tools.diagnose.rules import Evidence, Family, Found, Severity, Step

_ORDER: Final[dict[Severity, int]] = {"critical": 0, "warning": 1, "notice": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule's finding about one object; `count` items show it, and `effects` are the symptoms that it explains."""

    id: str
    severity: Severity
    subject: Ref
    cause: str
    count: int = 1
    evidence: tuple[Evidence, ...] = ()
    steps: tuple[Step, ...] = ()
    effects: tuple["Finding", ...] = ()


@dataclass(slots=True)
class _Draft:
    """A finding while its equals are counted; `place` is where its rule stands."""

    id: str
    severity: Severity
    found: Found
    place: int
    count: int = 1

    def key(self) -> tuple[int, bool, int, int, Ref]:
        return _ORDER[self.severity], bool(self.found.because), self.place, -self.count, self.found.subject


def judge(facts: Facts, families: Iterable[Family[Any]]) -> tuple[Finding, ...]:
    """Return what the rules find about the target and what it stands on, the cause that matters most first."""
    drafts: dict[tuple[str, Ref, str], _Draft] = {}
    for place, family in enumerate(families):
        for item in family.items(facts):
            for rule in family.rules:
                found = rule.find(facts, item)
                if found is None:
                    continue
                draft = _Draft(rule.id, found.severity or rule.severity, found, place)
                known = drafts.setdefault((rule.id, found.subject, found.cause), draft)
                if known is not draft:
                    known.count += 1
                if family.exclusive:
                    break
    findings = _explained(sorted(drafts.values(), key=_Draft.key))
    if is_wide(facts.target):
        return findings
    own = mine(facts)
    return tuple(each for each in findings if each.subject in own or any(e.subject in own for e in each.effects))


def _explained(drafts: list[_Draft]) -> tuple[Finding, ...]:
    """Put each symptom under the cause that explains it."""
    explained: dict[int, int] = {}
    about: dict[Ref, list[int]] = {}
    for index, draft in enumerate(drafts):
        if draft.severity != "notice":
            about.setdefault(draft.found.subject, []).append(index)
    for index, draft in enumerate(drafts):
        causes = sorted(other for ref in draft.found.because for other in about.get(ref, ()))
        cause = next((other for other in causes if other != index and _root(explained, other) != index), None)
        if cause is not None:
            explained[index] = cause
    findings = [
        Finding(d.id, d.severity, d.found.subject, d.found.cause, d.count, d.found.evidence, d.found.steps)
        for d in drafts
    ]
    effects: dict[int, list[Finding]] = {}
    for index in explained:
        effects.setdefault(_root(explained, index), []).append(findings[index])
    roots = [
        _with(findings[index], effects.get(index, []))
        for index in range(len(drafts))
        if index not in explained and not drafts[index].found.silent
    ]
    return tuple(sorted(roots, key=lambda finding: _ORDER[finding.severity]))


def _root(explained: dict[int, int], index: int) -> int:
    while index in explained:
        index = explained[index]
    return index


def _with(finding: Finding, effects: list[Finding]) -> Finding:
    """Attach the symptoms; a cause is as severe as the worst of them."""
    worst = min((finding, *effects), key=lambda each: _ORDER[each.severity])
    return replace(finding, effects=tuple(effects), severity=worst.severity)
