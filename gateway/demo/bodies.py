"""The boundary between what was sent and an object to write: media types, JSON and YAML, types, unknown fields."""

import re
from typing import Any

import orjson
import yaml

from gateway.demo import schema
from gateway.demo.discovery import Resource
from gateway.demo.durations import parse_time
from gateway.demo.validation import option
from gateway.demo.wire import Call, Obj, StatusError, bad_request

_ACCEPTED = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
_UNKNOWN = "the body of the request was in an unknown format - accepted media types include: "

APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


class _Loader(yaml.CSafeLoader):
    """YAML as sigs.k8s.io/yaml reads it for JSON: timestamps stay text, y and n are booleans, keys become text."""


_Loader.yaml_implicit_resolvers = {
    key: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for key, found in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^[yYnN]$"), list("yYnN"))
_Loader.add_constructor("tag:yaml.org,2002:bool", lambda _, node: str(node.value).lower() in {"y", "yes", "on", "true"})


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key if isinstance(key, str) else orjson.dumps(key).decode(): _as_json(v) for key, v in value.items()}
    if isinstance(value, int) and abs(value) >> 63:
        return float(value)
    return [_as_json(inner) for inner in value] if isinstance(value, list) else value


def content_type(call: Call) -> str:
    """Return the body's media type without its parameters."""
    return call.header("content-type").partition(";")[0].strip()


def first_document(text: bytes) -> Any:
    """Return the first document of YAML (or JSON); what follows is dropped, as the real server does.

    Raises StatusError 400.
    """
    loader: Any = _Loader(text)
    try:
        return _as_json(loader.get_data()) if loader.check_data() else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise bad_request(f"error decoding YAML: error converting YAML to JSON: yaml: {where}{problem}") from None
    finally:
        loader.dispose()


def decode(call: Call, resource: Resource) -> Obj:
    """Return the object a create or update sends; raises StatusError 400 or 415."""
    kind = content_type(call) or "application/json"
    if kind == "application/yaml":
        body = first_document(call.body)
    elif kind == "application/json":
        try:
            body = orjson.loads(call.body)
        except orjson.JSONDecodeError as error:
            shown = call.body[:1].decode(errors="replace")
            words = f"invalid character '{shown}' looking for beginning of value" if shown not in "{[" else str(error)
            if shown in {"{", "["}:
                words = "unexpected end of JSON input"
            sent = call.body.decode(errors="replace") if shown in {"{", "["} else call.body.hex()
            raise _unrecognized(resource, f"couldn't get version/kind; json parse error: {words} ({sent})") from None
    else:
        raise StatusError(415, _UNKNOWN + _ACCEPTED)
    if not isinstance(body, dict):
        raise _unrecognized(resource, "couldn't get version/kind; json parse error: not an object")
    return typed(body, resource)


def _unrecognized(resource: Resource, why: str) -> StatusError:
    return bad_request(f"the object provided is unrecognized (must be of type {resource.kind}): {why}")


def typed(body: Obj, resource: Resource) -> Obj:
    """Return a body that has the resource's apiVersion and kind; raises StatusError 400 for another type."""
    version, kind = body.get("apiVersion") or resource.api_version, body.get("kind") or resource.kind
    for name in ("apiVersion", "kind"):
        if not isinstance(body.get(name) or "", str):
            raise _unrecognized(resource, f"couldn't get version/kind; json parse error: {name} is not a string")
    if not isinstance(body.get("metadata") or {}, dict):
        words = f"json: cannot unmarshal into Go struct field {resource.kind}.metadata of type v1.ObjectMeta"
        raise bad_request(f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {words}')
    if kind != resource.kind:
        group, _, short = version.rpartition("/")
        del group
        words = f"converting ({short}.{kind}) to ({resource.group or 'core'}.{resource.kind}): unknown conversion"
        raise bad_request(f'{kind} in version "{short}" cannot be handled as a {resource.kind}: {words}')
    if version != resource.api_version:
        words = f'no kind "{kind}" is registered for version "{version}" in scheme "pkg/runtime/scheme.go:111"'
        short = version.rpartition("/")[2]
        raise bad_request(f'{kind} in version "{short}" cannot be handled as a {kind}: {words}')
    metadata = body.get("metadata")
    return {**body, "apiVersion": version, "kind": kind, "metadata": dict(metadata) if metadata else {}}


def fitted(body: Obj, resource: Resource, call: Call) -> tuple[Obj, dict[str, str]]:
    """Return the body without unknown fields, and the Warning header about them.

    Raises StatusError 400 for a wrong type, or for unknown fields under `fieldValidation=Strict`.
    """
    option("CreateOptions", "fieldValidation", call.query.get("fieldValidation", ()), ("", "Ignore", "Warn", "Strict"))
    kind = schema.of_resource(resource)
    unknown = list(schema.unknown_fields(kind, body))
    level = call.param("fieldValidation", "Warn")
    short = resource.version
    if unknown and level == "Strict":
        words = ", ".join(f'unknown field "{path}"' for path in unknown)
        start = f'{resource.kind} in version "{short}" cannot be handled as a {resource.kind}'
        raise bad_request(f"{start}: strict decoding error: {words}")
    slim: Obj = schema.pruned(kind, body)
    if body["metadata"].get("managedFields") == []:
        slim["metadata"]["managedFields"] = []  # wipes out who owns what
    if resource.custom is None:
        _check_go_types(kind, body, resource)
    warned = ", ".join(f'299 - "unknown field \\"{path}\\""' for path in unknown)
    return slim, {"Warning": warned} if unknown and level != "Ignore" else {}


_GO = {"s": "string", "b": "[]uint8", "d": "v1.Time", "i": "int32", "n": "float64", "t": "bool"}


def _check_go_types(kind: schema.Type, body: Obj, resource: Resource) -> None:
    found = _misfit(kind, body, "")
    if found:
        value, path, wanted = found
        names = {bool: "bool", str: "string", dict: "object", list: "array"}
        got = names.get(type(value), "number")
        words = f"json: cannot unmarshal {got} into Go struct field {resource.kind}{path} of type {wanted}"
        raise bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {words}'
        )


def _fits(kind: str, value: Any, path: str) -> bool:
    types = {"s": str, "b": str, "d": str, "i": int, "n": (int, float), "t": bool}[kind]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "d" and isinstance(value, str):
        return _is_time(value)
    if kind == "s" and number:  # a quantity may be written as a number, plain text may not
        return not path.endswith((".data", ".labels", ".annotations", ".name", ".image", ".value"))
    return isinstance(value, types) and not (isinstance(value, bool) and kind in {"i", "n"})  # type: ignore[arg-type]


def _is_time(text: str) -> bool:
    try:
        parse_time(text)
    except ValueError:
        return False
    return True


def _misfit(kind: schema.Type, value: Any, path: str) -> tuple[Any, str, str] | None:
    if value is None or kind in ("*", "x"):
        return None
    if isinstance(kind, str):
        return None if _fits(kind, value, path) else (value, path, _GO[kind])
    known = schema.fields(kind)
    if known is not None or "v" in kind:
        if not isinstance(value, dict):
            return value, path, "map[string]interface {}"
        inner = (
            [(known.get(name, "*"), part, f"{path}.{name}") for name, part in value.items()]
            if known is not None
            else [(kind["v"], part, path) for part in value.values()]
        )
    elif "i" in kind:
        if not isinstance(value, list):
            return value, path, "[]interface {}"
        inner = [(kind["i"], part, path) for part in value]
    else:
        inner = []
    return next(filter(None, (_misfit(*found) for found in inner)), None)
