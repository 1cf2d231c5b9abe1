"""The boundary of what types fields have: structs, maps and lists with their merge keys, built-in and of CRDs.

data/schema.json was made from the real server's OpenAPI. A type is written compactly, as there: a letter for a scalar
(s string, b bytes, d time, i integer, n number, t boolean, x integer or string, * anything) or one of
{"r": struct's number}, {"p": {field: type}} (a struct inline), {"v": type} (a map), {"i": type} (a list), with
"a" atomic, "k" keys of an associative list, "s" set, "m" the merge key of a strategic merge patch.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import orjson

from gateway.demo.discovery import Resource, data
from gateway.demo.wire import Obj

Type = str | dict[str, Any]
Path = tuple[str, ...]

_KEY_DEFAULTS = {"protocol": "TCP"}


class TypeMismatchError(ValueError):
    """A value that does not fit the schema, worded as structured-merge-diff words it."""


@cache
def _structs() -> list[Obj]:
    structs: list[Obj] = data("schema.json")["types"]
    return structs


@cache
def _object_meta() -> Type:
    root: Type = _structs()[data("schema.json")["kinds"]["/v1/ConfigMap"]]["p"]["metadata"]
    return root


def of_resource(resource: Resource) -> Type:
    """Return the type of a resource's objects."""
    if resource.custom is not None:
        schema = (resource.custom.get("schema") or {}).get("openAPIV3Schema") or {}
        return _root(schema)
    number = data("schema.json")["kinds"].get(f"{resource.group}/{resource.version}/{resource.kind}")
    return "*" if number is None else {"r": number}


def _root(schema: Obj) -> Type:
    found = _converted(schema)
    fields = dict(found["p"]) if isinstance(found, dict) and "p" in found else {}
    head: dict[str, Type] = {"apiVersion": "s", "kind": "s", "metadata": _object_meta()}
    unknown = (isinstance(found, dict) and (found.get("u"))) or found == "*"
    return {"p": {**fields, **head}, **({"u": 1} if unknown else {})}


def _converted(schema: Obj) -> Type:
    kind = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        return "x"
    if schema.get("x-kubernetes-embedded-resource") and "properties" not in schema:
        return "*"
    if kind == "array":
        found: dict[str, Any] = {"i": _converted(schema.get("items") or {})}
        if schema.get("x-kubernetes-list-type") == "map":
            found["k"] = schema["x-kubernetes-list-map-keys"]
        elif schema.get("x-kubernetes-list-type") == "set":
            found["s"] = 1
        return found
    if kind == "object" or "properties" in schema:
        atomic = {"a": 1} if schema.get("x-kubernetes-map-type") == "atomic" else {}
        if "properties" in schema:
            unknown = {"u": 1} if schema.get("x-kubernetes-preserve-unknown-fields") else {}
            fields = {name: _converted(inner) for name, inner in schema["properties"].items()}
            return {"p": fields, **atomic, **unknown}
        if isinstance(schema.get("additionalProperties"), dict):
            return {"v": _converted(schema["additionalProperties"]), **atomic}
        return "*" if schema.get("x-kubernetes-preserve-unknown-fields") else {"p": {}}
    return {"string": "s", "integer": "i", "number": "n", "boolean": "t"}.get(str(kind), "*")


def fields(kind: Type) -> dict[str, Type] | None:
    """Return a struct's fields, None for every other type."""
    if isinstance(kind, dict):
        if "r" in kind:
            found: dict[str, Type] = _structs()[kind["r"]]["p"]
            return found
        return kind.get("p")
    return None


def _atomic(kind: Type) -> bool:
    return isinstance(kind, dict) and bool(kind.get("a") or ("r" in kind and _structs()[kind["r"]].get("a")))


def list_key(kind: Type, item: Any) -> str:
    """Return the path element that names an item of an associative list or set."""
    if isinstance(kind, dict) and "k" in kind and isinstance(item, dict):
        keys = {key: item.get(key, _KEY_DEFAULTS.get(key)) for key in sorted(kind["k"])}
        return "k:" + orjson.dumps({key: value for key, value in keys.items() if value is not None}).decode()
    return "v:" + orjson.dumps(item).decode()


def pieces(kind: Type, value: Any) -> list[tuple[str, Type, Any]] | None:
    """Return what is owned piece by piece below a value, None where it is owned as a whole."""
    if _atomic(kind):
        return None
    if isinstance(value, dict):
        known = fields(kind)
        if known is not None:
            return [(f"f:{name}", known.get(name, "*"), inner) for name, inner in value.items()]
        if kind == "*":
            return [(f"f:{name}", "*", inner) for name, inner in value.items()]
        if isinstance(kind, dict) and "v" in kind:
            return [(f"f:{name}", kind["v"], inner) for name, inner in value.items()]
    if isinstance(value, list) and isinstance(kind, dict) and ("k" in kind or "s" in kind):
        return [(list_key(kind, inner), kind["i"], inner) for inner in value]
    return None


def element_text(element: str) -> str:
    """Return a path element as errors and conflicts show it."""
    if element.startswith("f:"):
        return f".{element[2:]}"
    if element.startswith("k:"):
        keys = orjson.loads(element[2:])
        return f"[{','.join(f'{key}={orjson.dumps(value).decode()}' for key, value in keys.items())}]"
    return f"[={element[2:]}]"


def path_text(path: Path) -> str:
    """Return a path as errors and conflicts show it: .spec.containers[name="x"].image."""
    return "".join(element_text(element) for element in path)


_SCALARS: dict[str, tuple[tuple[type, ...], str]] = {
    "s": ((str,), "string"),
    "b": ((str,), "string"),
    "d": ((str,), "string"),
    "i": ((int, float), "numeric (int or float)"),
    "n": ((int, float), "numeric (int or float)"),
    "t": ((bool,), "boolean"),
}


def _shown(value: Any) -> str:
    if isinstance(value, bool | int | float):
        return f"&value.valueUnstructured{{Value:{str(value).lower()}}}"
    if isinstance(value, dict):
        return "&{map[" + " ".join(f"{key}:{inner}" for key, inner in value.items()) + "]}"
    return f"&{{{value}}}"


def check(kind: Type, value: Any) -> None:
    """Check a value against its type; raises TypeMismatchError with everything that does not fit."""
    errors = list(_misfits(kind, value, ()))
    if errors:
        raise TypeMismatchError(errors[0] if len(errors) == 1 else "errors:\n  " + "\n  ".join(errors))


def _misfits(kind: Type, value: Any, path: Path) -> Iterator[str]:
    if value is None or kind in ("*", "x"):
        return
    if isinstance(kind, str):
        yield from _scalar_misfit(kind, value, path)
        return
    known = fields(kind)
    if known is not None or "v" in kind:
        if not isinstance(value, dict):
            yield f"{path_text(path)}: expected map, got {_shown(value)}"
            return
        for name in sorted(value):
            here = (*path, f"f:{name}")
            if known is not None and name not in known:
                if kind.get("u"):
                    continue
                yield f"{path_text(here)}: field not declared in schema"
                return  # what comes after an unknown field is not looked at
            yield from _misfits(known[name] if known is not None else kind["v"], value[name], here)
    elif "i" in kind:
        if isinstance(value, list):
            yield from _item_misfits(kind, value, path)
        else:
            yield f"{path_text(path)}: expected list, got {_shown(value)}"


def _scalar_misfit(kind: str, value: Any, path: Path) -> Iterator[str]:
    allowed, name = _SCALARS[kind]
    wrong = not isinstance(value, allowed) or (isinstance(value, bool) and kind in {"i", "n"})
    quantity = kind == "s" and path[-2:-1] and path[-2] in _QUANTITIES and not isinstance(value, dict | list)
    if wrong and not quantity:
        got = "string" if kind in {"i", "n"} and isinstance(value, str) else _shown(value)
        yield f"{path_text(path)}: expected {name}, got {got}"


_QUANTITIES = {"f:limits", "f:requests", "f:capacity", "f:allocatable", "f:hard", "f:used"}


def _item_misfits(kind: dict[str, Any], value: list[Any], path: Path) -> Iterator[str]:
    seen: set[str] = set()
    for index, inner in enumerate(value):
        element = list_key(kind, inner) if "k" in kind or "s" in kind else f"v:{index}"
        if element in seen and ("k" in kind or "s" in kind):
            what = f"key {element_text(element)}" if "k" in kind else f"item {element[2:]}"
            yield f"{path_text(path)}: duplicate entries for {what}"
        seen.add(element)
        yield from _misfits(kind["i"], inner, (*path, element))


def unknown_fields(kind: Type, value: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of fields the schema does not have, as strict decoding names them."""
    known = fields(kind)
    if isinstance(value, dict) and known is not None:
        for name, inner in value.items():
            here = f"{path}.{name}" if path else name
            if name in known:
                yield from unknown_fields(known[name], inner, here)
            elif not (isinstance(kind, dict) and kind.get("u")):
                yield here
    elif isinstance(value, dict) and isinstance(kind, dict) and "v" in kind:
        for name, inner in value.items():
            yield from unknown_fields(kind["v"], inner, f"{path}.{name}")
    elif isinstance(value, list) and isinstance(kind, dict) and "i" in kind:
        for index, inner in enumerate(value):
            yield from unknown_fields(kind["i"], inner, f"{path}[{index}]")


def pruned(kind: Type, value: Any) -> Any:
    """Return a copy without unknown fields, nulls dropped, and numbers made text where text is meant.

    Empty lists and maps of built-in types are dropped too, as Go's omitempty does; empty structs stay.
    """
    known = fields(kind)
    if isinstance(value, dict):
        if known is not None:
            keep_unknown = isinstance(kind, dict) and kind.get("u")
            omit = isinstance(kind, dict) and "r" in kind
            return {
                name: pruned(known.get(name, "*"), inner)
                for name, inner in value.items()
                if inner is not None
                and (name in known or keep_unknown)
                and not (omit and inner in ({}, []) and fields(known[name]) is None and known[name] != "*")
            }
        inner_kind: Type = kind["v"] if isinstance(kind, dict) and "v" in kind else "*"
        return {name: pruned(inner_kind, inner) for name, inner in value.items() if inner is not None or kind == "*"}
    if isinstance(value, list):
        item_kind: Type = kind["i"] if isinstance(kind, dict) and "i" in kind else "*"
        return [zero(item_kind) if inner is None else pruned(item_kind, inner) for inner in value]
    if kind == "s" and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


def zero(kind: Type) -> Any:
    """Return the value Go gives to what was not said: empty text, nothing, false, an empty struct."""
    if isinstance(kind, str):
        return {"s": "", "b": "", "i": 0, "n": 0, "t": False}.get(kind)
    return {} if fields(kind) is not None else None


def whole(kind: Type, value: Any) -> Any:
    """Return a copy in which structs have the scalar fields that Go always writes, at their zero values."""
    known = fields(kind)
    if isinstance(value, dict) and known is not None:
        result = {name: whole(known.get(name, "*"), inner) for name, inner in value.items()}
        always = _structs()[kind["r"]].get("q", ()) if isinstance(kind, dict) and "r" in kind else ()
        missing = {name: zero(known[name]) for name in always if name not in value and isinstance(known[name], str)}
        return {**result, **{name: empty for name, empty in missing.items() if empty is not None}}
    if isinstance(value, dict) and isinstance(kind, dict) and "v" in kind:
        return {name: whole(kind["v"], inner) for name, inner in value.items()}
    if isinstance(value, list) and isinstance(kind, dict) and "i" in kind:
        return [whole(kind["i"], inner) for inner in value]
    return value
