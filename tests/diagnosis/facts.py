"""Boundary between the catalogue's facts and the judgement of them: snapshots made from a file, without a cluster."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import yaml

from gateway.tools.diagnose import report
from gateway.tools.diagnose.facts import API_SERVICES, CERTIFICATES, KINDS, NETWORK_POLICIES, QUOTAS, Event, Facts, Ref
from gateway.tools.diagnose.families import ALL
from gateway.tools.diagnose.gather import Gathered
from gateway.tools.diagnose.judge import judge
from gateway.tools.diagnose.objects import dig, when
from gateway.tools.diagnose.state import state_of
from tests.diagnosis.catalogue import FOLDER, TOKENS, Outcome, World

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_RESOURCES = {
    **KINDS,
    "NetworkPolicy": NETWORK_POLICIES,
    "ResourceQuota": QUOTAS,
    "Certificate": CERTIFICATES,
    "APIService": API_SERVICES,
    "Widget": "widgets.example.org",
}


class _Loader(yaml.SafeLoader):
    """YAML with moments relative to the snapshot."""


def _moment(sign: int) -> Any:
    def construct(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
        amount, unit = re.fullmatch(r"(\d+)([smhd])", str(loader.construct_scalar(node))).groups()  # type: ignore[union-attr]
        return (NOW + sign * timedelta(**{_UNITS[unit]: int(amount)})).isoformat()

    return construct


_Loader.add_constructor("!ago", _moment(-1))
_Loader.add_constructor("!in", _moment(1))


def load_facts() -> dict[str, tuple[World, Facts]]:
    """Read the worlds that are made of facts alone, by name."""
    entries = yaml.load((FOLDER / "facts.yaml").read_text(), _Loader)  # noqa: S506  # a SafeLoader with two more tags
    return {entry["name"]: (_world(entry), _facts(entry)) for entry in entries}


def _world(entry: Mapping[str, Any]) -> World:
    says = tuple(entry.get("says", ()))
    return World(entry["name"], (), (), entry["of"], entry.get("finds", ""), says, entry.get("notes", ""))


def _facts(entry: Mapping[str, Any]) -> Facts:
    resource, space, name = entry["of"].split("/")
    objects = {_ref(item): item for item in entry["objects"]}
    events = tuple(_event(event) for event in entry.get("events", ()))
    logs = {
        (Ref("pods", "shop", key.partition("/")[0]), key.partition("/")[2]): tuple(text.splitlines())
        for key, text in entry.get("logs", {}).items()
    }
    return Facts(NOW, Ref(resource, space, name), objects, events, logs)


def _ref(item: Mapping[str, Any]) -> Ref:
    metadata = item["metadata"]
    return Ref(_RESOURCES[item["kind"]], metadata.get("namespace", ""), metadata["name"])


def _event(event: Mapping[str, Any]) -> Event:
    kind, space, name = event["about"].split("/")
    last = when(dig(event, "last")) or NOW - timedelta(minutes=1)
    about = Ref(_RESOURCES[kind], space, name)
    return Event(about, event.get("uid", ""), True, event["reason"], event["message"], "", 3, last)


def outcome_of(world: World, facts: Facts) -> Outcome:
    """Judge a snapshot, as text and as data."""
    findings = judge(facts, ALL)
    gathered = Gathered(facts, 0, 0.0, late=False)
    extra = {"state": state_of(facts)} if state_of(facts) else {}
    text = report.text("east", gathered, findings, extra, manner=report.SHORT, limit=report.BYTES)
    data = orjson.loads(report.as_data("east", gathered, findings, extra, limit=report.BYTES))
    return Outcome(world, text, data, len(TOKENS.encode(text)), 0, 0.0)
