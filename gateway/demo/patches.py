"""The boundary of patch documents: JSON patch (RFC 6902), merge patch (RFC 7396) and strategic merge patch."""

import copy
from typing import Any

from gateway.demo.schema import Type, fields
from gateway.demo.wire import Obj, StatusError


def _rejected() -> StatusError:
    words = "the server rejected our request due to an error in our request"
    return StatusError(422, words, details={})


def merge(target: Any, patch: Any) -> Any:
    """Apply a merge patch."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


def _steps(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise _rejected()
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _index(items: list[Any], step: str, *, end: bool = False) -> int:
    if step == "-" and end:
        return len(items)
    if not step.isdigit() or int(step) > len(items) - (0 if end else 1):
        raise _rejected()
    return int(step)


def _find(document: Any, steps: list[str]) -> Any:
    for step in steps:
        if isinstance(document, list):
            document = document[_index(document, step)]
        elif isinstance(document, dict) and step in document:
            document = document[step]
        else:
            raise _rejected()
    return document


def _add(document: Any, steps: list[str], value: Any) -> Any:
    if not steps:
        return value
    parent = _find(document, steps[:-1])
    if isinstance(parent, list):
        parent.insert(_index(parent, steps[-1], end=True), value)
    elif isinstance(parent, dict):
        parent[steps[-1]] = value
    else:
        raise _rejected()
    return document


def _remove(document: Any, steps: list[str]) -> Any:
    found = _find(document, steps)
    if not steps:
        raise _rejected()
    parent = _find(document, steps[:-1])
    if isinstance(parent, list):
        parent.pop(_index(parent, steps[-1]))
    else:
        del parent[steps[-1]]
    return found


def _replace(document: Any, steps: list[str], value: Any) -> Any:
    _find(document, steps)
    if not steps:
        return value
    parent = _find(document, steps[:-1])
    parent[_index(parent, steps[-1]) if isinstance(parent, list) else steps[-1]] = value
    return document


def json_patch(target: Obj, operations: Any) -> Obj:
    """Apply a JSON patch to a copy; raises StatusError 422 where an operation does not fit, 400 for no patch at all."""
    if not isinstance(operations, list):
        words = "json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        raise StatusError(400, f"error decoding patch: {words}")
    document: Any = copy.deepcopy(target)
    for operation in operations:
        pointers = [operation.get(name, "") if isinstance(operation, dict) else None for name in ("path", "from")]
        if not all(isinstance(pointer, str) for pointer in pointers):
            raise StatusError(400, "error decoding patch: path and from are strings")
        path = _steps(operation.get("path", ""))
        match operation.get("op"):
            case "add":
                document = _add(document, path, operation.get("value"))
            case "remove":
                _remove(document, path)
            case "replace":
                document = _replace(document, path, operation.get("value"))
            case "move":
                document = _add(document, path, _remove(document, _steps(operation["from"])))
            case "copy":
                document = _add(document, path, copy.deepcopy(_find(document, _steps(operation["from"]))))
            case "test":
                if _find(document, path) != operation.get("value"):
                    raise _rejected()
            case _:
                raise _rejected()
    if not isinstance(document, dict):
        raise _rejected()
    return document


def strategic(kind: Type, target: Any, patch: Any) -> Any:
    """Apply a strategic merge patch: lists with a merge key are merged by it, `$patch` and its kin are directives."""
    if not isinstance(patch, dict):
        return patch
    if patch.get("$patch") == "replace":
        return {name: value for name, value in patch.items() if name != "$patch"}
    known = fields(kind) or {}
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if name.startswith("$deleteFromPrimitiveList/"):
            plain = name.partition("/")[2]
            result[plain] = [item for item in result.get(plain) or () if item not in value]
        if name.startswith("$"):
            continue
        inner: Type = known.get(name, kind["v"] if isinstance(kind, dict) and "v" in kind else "*")
        if value is None:
            result.pop(name, None)
        elif isinstance(value, list) and isinstance(inner, dict) and "m" in inner:
            result[name] = _strategic_list(inner, result.get(name) or [], value)
        else:
            result[name] = strategic(inner, result.get(name), value)
    retained = patch.get("$retainKeys")
    return {name: value for name, value in result.items() if name in retained} if retained else result


def _strategic_list(kind: dict[str, Any], live: list[Any], patch: list[Any]) -> list[Any]:
    key = kind["m"]
    if key and not all(isinstance(item, dict) for item in patch):
        raise StatusError(400, f"error decoding patch: the items of a list merged by {key} are objects")
    if not key:
        return [*live, *(item for item in patch if item not in live)]
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if item.get("$patch") != "replace"]
    result = list(live)
    for item in patch:
        at = next((index for index, found in enumerate(result) if found.get(key) == item.get(key)), None)
        if item.get("$patch") == "delete":
            if at is not None:
                result.pop(at)
        elif at is None:
            result.append(strategic(kind["i"], {}, item))
        else:
            result[at] = strategic(kind["i"], result[at], item)
    return result
