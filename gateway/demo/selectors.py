"""The boundary of what a list or watch leaves out: label and field selectors in the API's own grammar.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/ and .../field-selectors/.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gateway.demo.wire import Obj, bad_request

Match = Callable[[Obj], bool]

_OPERATORS = "in, notin, =, ==, !=, gt, lt"
_TOKEN = re.compile(r"\s*(==|!=|=|<|>|!|\(|\)|,|[^\s=!<>(),]+)")
_FIELDS: dict[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "events.events.k8s.io": (
        "regarding.kind",
        "regarding.namespace",
        "regarding.name",
        "regarding.uid",
        "regarding.apiVersion",
        "regarding.resourceVersion",
        "regarding.fieldPath",
        "reason",
        "reportingController",
        "type",
    ),
    "namespaces": ("status.phase",),
    "nodes": ("spec.unschedulable",),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
    "replicationcontrollers": ("status.replicas",),
    "jobs.batch": ("status.successful",),
    "certificatesigningrequests.certificates.k8s.io": ("spec.signerName",),
}


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while position < len(text.rstrip()):
        found = _TOKEN.match(text, position)
        if found is None:
            raise bad_request(f"unable to parse requirement: found '{text[position:]}'")
        yield found[1]
        position = found.end()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self._at += 1
        return token

    def requirements(self) -> Iterator[Callable[[Mapping[str, str]], bool]]:
        while self.peek():
            yield self._requirement()
            if self.peek() and self.take() != ",":
                found = self._tokens[self._at - 1]
                raise bad_request(f"unable to parse requirement: found '{found}', expected: ',' or 'end of string'")

    def _requirement(self) -> Callable[[Mapping[str, str]], bool]:
        if self.peek() == "!":
            self.take()
            absent = self._key()
            return lambda labels: absent not in labels
        key = self._key()
        operator = self.peek()
        if operator in {"", ","}:
            return lambda labels: key in labels
        self.take()
        if operator in {"=", "=="}:
            value = self._value()
            return lambda labels: labels.get(key) == value
        if operator == "!=":
            value = self._value()
            return lambda labels: labels.get(key) != value
        if operator in {"in", "notin"}:
            values = self._values()
            if operator == "in":
                return lambda labels: labels.get(key) in values
            return lambda labels: labels.get(key) not in values
        if operator in {"gt", "lt", ">", "<"}:
            return self._compare(key, greater=operator in {"gt", ">"})
        raise bad_request(f"unable to parse requirement: found '{operator}', expected: {_OPERATORS}")

    def _compare(self, key: str, *, greater: bool) -> Callable[[Mapping[str, str]], bool]:
        bound = self._value()
        if not bound.lstrip("-").isdigit():
            raise bad_request(
                f'unable to parse requirement: values[0][{key}]: Invalid value: "{bound}": '
                "for 'Gt', 'Lt' operators, the value must be an integer"
            )

        def holds(labels: Mapping[str, str]) -> bool:
            value = labels.get(key, "")
            if not value.lstrip("-").isdigit():
                return False
            return int(value) > int(bound) if greater else int(value) < int(bound)

        return holds

    def _key(self) -> str:
        token = self.take()
        if token in {"", ",", "(", ")", "=", "==", "!="}:
            raise bad_request(f"found '{token}', expected: !, identifier, or 'end of string'")
        name = token.rpartition("/")[2]
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", name):
            raise bad_request(
                f'unable to parse requirement: <nil>: Invalid value: "{token}": name part must consist of alphanumeric '
                "characters, '-', '_' or '.', and must start and end with an alphanumeric character "
                "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
                "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
            )
        return token

    def _value(self) -> str:
        return "" if self.peek() in {"", ","} else self.take()

    def _values(self) -> set[str]:
        if self.take() != "(":
            found = self._tokens[self._at - 1] if self._at <= len(self._tokens) else ""
            raise bad_request(f"unable to parse requirement: found '{found}' expected: '('")
        values: set[str] = set()
        while self.peek() not in {")", ""}:
            values.add(self.take())
        values.discard(",")
        if self.take() != ")":
            raise bad_request("unable to parse requirement: found '', expected: ',' or ')'")
        return values


def label_selector(text: str) -> Match | None:
    """Return what a label selector lets through, or None when it lets everything through.

    Raises StatusError 400 in the server's words.
    """
    requirements = list(_Parser(text).requirements())
    if not requirements:
        return None

    def match(item: Obj) -> bool:
        labels = item["metadata"].get("labels") or {}
        return all(holds(labels) for holds in requirements)

    return match


def matches_selector(selector: Obj | None, labels: Mapping[str, str]) -> bool:
    """Say whether a LabelSelector document (matchLabels, matchExpressions) selects these labels."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for rule in selector.get("matchExpressions") or []:
        key, values = rule["key"], rule.get("values") or []
        holds = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[rule["operator"]]
        if not holds:
            return False
    return True


def field_value(item: Obj, path: str) -> str:
    """Return a field as field selectors compare it: as text, empty when it is missing."""
    value: Any = item
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return "false" if path in {"spec.unschedulable", "spec.hostNetwork"} else ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unsupported(path: str, resource: str, *, custom: bool) -> str:
    if resource == "jobs.batch":
        return f'field label "{path}" not supported for Job'
    if custom or resource in _FIELDS:
        return f"field label not supported: {path}"
    return f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def field_selector(text: str, resource: str, selectable: tuple[str, ...] = (), *, custom: bool = False) -> Match | None:
    """Return what a field selector lets through for a resource named as `plural.group`.

    `selectable` are further fields that a CRD (`custom`) names.

    Raises StatusError 400 for a field the resource does not offer.
    """
    checks: list[tuple[str, str, bool]] = []
    for part in filter(None, text.split(",")):
        path, operator, value = _split_term(part, text)
        allowed = ("metadata.name", "metadata.namespace", *_FIELDS.get(resource, ()), *selectable)
        if path not in allowed:
            raise bad_request(_unsupported(path, resource, custom=custom))
        checks.append((path, value, operator != "!="))
    if not checks:
        return None

    def match(item: Obj) -> bool:
        return all((_field(item, path) == value) is equal for path, value, equal in checks)

    return match


def _field(item: Obj, path: str) -> str:
    if path == "source":
        return field_value(item, "source.component") or field_value(item, "reportingComponent")
    return field_value(item, path)


def _split_term(part: str, whole: str) -> tuple[str, str, str]:
    for operator in ("!=", "==", "="):
        path, found, value = part.partition(operator)
        if found:
            return path, operator, value
    raise bad_request(f"invalid selector: '{whole}'; can't understand '{part}'")
