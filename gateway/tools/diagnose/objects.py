"""Boundary between Kubernetes' open JSON and rules: small questions to one object. Nothing is ever changed."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

Obj = Mapping[str, Any]


def dig(node: Any, *path: str, default: Any = None) -> Any:
    """Return what is at this path of nested objects, `default` where there is nothing."""
    for key in path:
        if not isinstance(node, dict):
            return default
        node = node.get(key)
    return default if node is None else node


def when(stamp: Any) -> datetime | None:
    """Read a timestamp (RFC 3339)."""
    if not isinstance(stamp, str):
        return None
    try:
        return datetime.fromisoformat(stamp)
    except ValueError:
        return None


def changed_at(item: Obj | None) -> datetime | None:
    """Return when an object's specification was last changed, as far as its managed fields tell."""
    stamps = [dig(item, "metadata", "creationTimestamp")]
    managed = dig(item, "metadata", "managedFields", default=())
    stamps += [each.get("time") for each in managed if not each.get("subresource")]
    return max((moment for stamp in stamps if (moment := when(stamp))), default=None)


def condition(item: Obj | None, kind: str, status: str = "True") -> Obj | None:
    """Return the condition of this type if it has this status."""
    for found in dig(item, "status", "conditions", default=()):
        if isinstance(found, dict) and found.get("type") == kind and found.get("status") == status:
            condition_: Obj = found
            return condition_
    return None


def selects(selector: Mapping[str, str], labels: Mapping[str, str] | None) -> bool:
    """Whether an equality selector matches labels; an empty one matches nothing here."""
    return bool(selector) and all((labels or {}).get(key) == value for key, value in selector.items())


def labels_of(item: Obj | None) -> Mapping[str, str]:
    """Return an object's labels."""
    found: Mapping[str, str] = dig(item, "metadata", "labels", default={})
    return found


_UNITS: Final = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
}
_UNITS_2: Final = {f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", 1)}
_QUANTITY: Final = re.compile(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]*)").fullmatch


def quantity(text: Any) -> float:
    """Read a quantity such as `250m` or `1Gi` (k8s.io/apimachinery, resource.Quantity); 0 where it is none."""
    match = _QUANTITY(str(text))
    return float(match[1]) * ({**_UNITS, **_UNITS_2}.get(match[2], 0.0)) if match else 0.0


def ago(span: timedelta) -> str:
    """Return a span as people say it: `42s`, `5m`, `3h`, `2d`."""
    seconds = max(0, int(span.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
