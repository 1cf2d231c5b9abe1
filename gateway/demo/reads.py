"""The boundary of reading: get and list, in pages, as objects, Tables or metadata alone."""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass

import orjson
import yaml

from gateway.demo.convert import present
from gateway.demo.discovery import Resource
from gateway.demo.route import Media, Route, both, media
from gateway.demo.selectors import Match, field_selector, label_selector
from gateway.demo.state import State
from gateway.demo.store import path_of
from gateway.demo.tables import partial, table
from gateway.demo.wire import Answer, Call, Obj, StatusError, bad_request, expired, not_found, qualified

_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


def render(document: Obj, choice: Media, status: int = 200) -> Answer:
    """Serialize a document the way the caller accepts it."""
    if choice.yaml:
        text = yaml.dump(orjson.loads(orjson.dumps(document)), Dumper=yaml.CSafeDumper, width=1 << 20)
        return Answer(status, text.encode(), "application/yaml")
    return Answer(status, orjson.dumps(document))


def show(resource: Resource, item: Obj, call: Call, status: int = 200) -> Answer:
    """Answer with one object as itself, as a Table of one row, or as metadata."""
    choice = media(call)
    shown = present(resource, item)
    if choice.kind == "Table":
        version = {"resourceVersion": item["metadata"].get("resourceVersion", "")}
        return render(table(resource, [shown], version, call.param("includeObject", "Metadata")), choice, status)
    if choice.kind == "PartialObjectMetadata":
        return render(partial(shown), choice, status)
    return render(shown, choice, status)


def get(state: State, resource: Resource, route: Route, call: Call) -> Answer:
    """Answer with one object."""
    return show(resource, find(state, resource, route), call)


def find(state: State, resource: Resource, route: Route) -> Obj:
    """Return the stored object a route names; raises StatusError 404."""
    if route.name in {".", ".."} or "%" in route.name:
        why = "contain '%'" if "%" in route.name else f"be '{route.name}'"
        raise bad_request(f'Name parameter invalid: "{route.name}": may not {why}')
    namespace = route.namespace if resource.namespaced else ""
    item = state.store.get(resource.key, namespace, route.name)
    if item is None:
        raise not_found(resource.plural, resource.group, route.name)
    return item


def selector_of(resource: Resource, call: Call) -> Match | None:
    """Join the call's label and field selectors; None selects everything. Raises StatusError 400."""
    selectable = tuple(
        found["jsonPath"].removeprefix(".") for found in (resource.custom or {}).get("selectableFields") or ()
    )
    name, custom = qualified(resource.plural, resource.group), resource.custom is not None
    fields = field_selector(call.param("fieldSelector"), name, selectable, custom=custom)
    match = both(label_selector(call.param("labelSelector")), fields)
    if match is None or resource.group != "events.k8s.io":
        return match
    return lambda item: match(present(resource, item))


@dataclass(frozen=True, slots=True)
class _Start:
    after: str
    revision: int


def _read_token(text: str) -> _Start:
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        found = orjson.loads(raw)
    except (binascii.Error, orjson.JSONDecodeError) as error:
        words = f"invalid continue token: continue key is not valid: {error}"
        raise bad_request(words) from None
    if not isinstance(found, dict) or found.get("v") != "meta.k8s.io/v1":
        raise bad_request(
            "invalid continue token: continue key is not valid: server does not recognize this encoded version"
        )
    return _Start(str(found.get("start", "")).removesuffix("\0"), int(found.get("rv", 0)))


def _write_token(revision: int, after: str) -> str:
    raw = orjson.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": f"{after}\0"})
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def expired_continue(call: Call) -> StatusError:
    """Return 410 for a continue token from too long ago, with one to go on inconsistently."""
    return expired(_TOO_OLD, _write_token(-1, _read_token(call.param("continue")).after))


def _whole(call: Call, name: str) -> int:
    text = call.param(name) or "0"
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


@dataclass(frozen=True, slots=True)
class _Page:
    items: list[Obj]
    metadata: Obj


def _revision(state: State, call: Call, token: str) -> None:
    text = call.param("resourceVersion")
    if not text:
        return
    if not text.isdigit():
        value = f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise bad_request(f"invalid resource version: resourceVersion: {value}")
    if token and text != "0":
        raise bad_request("specifying resource version is not allowed when using continue")
    if int(text) > state.store.revision:
        raise StatusError(
            504,
            f"Timeout: Too large resource version: {text}, current: {state.store.revision}",
            details={
                "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                "retryAfterSeconds": 1,
            },
            headers={"Retry-After": "1"},
        )


def _page(state: State, resource: Resource, route: Route, call: Call) -> _Page:
    match = selector_of(resource, call)
    limit, token = _whole(call, "limit"), call.param("continue")
    _revision(state, call, token)
    if call.param("resourceVersion") == "0" and not token:
        limit = 0  # served from the watch cache, which has no pages
    revision, after = state.store.revision, ""
    prefix = f"{route.namespace}/" if route.namespace and resource.namespaced else ""
    if token:
        start = _read_token(token)
        after = (prefix or "") + start.after.lstrip("/")
        if 0 < start.revision < state.compacted:
            raise expired_continue(call)
        revision = start.revision if start.revision > 0 else revision
    items: list[Obj] = []
    paths = [path for path in state.store.paths(resource.key) if path > after and path.startswith(prefix)]
    for index, path in enumerate(paths):
        item = state.store.at(resource.key, path)
        if match is not None and not match(item):
            continue
        if limit and len(items) == limit:
            last = items[-1]["metadata"]
            where = path_of("" if prefix else last.get("namespace", ""), last["name"])
            metadata: Obj = {"resourceVersion": str(revision), "continue": _write_token(revision, f"/{where}")}
            if match is None:
                metadata["remainingItemCount"] = len(paths) - index
            return _Page(items, metadata)
        items.append(item)
    return _Page(items, {"resourceVersion": str(revision)})


def list_page(state: State, resource: Resource, route: Route, call: Call) -> Answer:
    """Answer with a page of a resource's objects, of one namespace or of all."""
    media(call)
    page = _page(state, resource, route, call)
    return show_all(resource, page.items, page.metadata, call)


def show_all(resource: Resource, found: Iterable[Obj], metadata: Obj, call: Call) -> Answer:
    """Answer with objects as a list, a Table or metadata."""
    choice = media(call)
    items: Iterable[Obj] = (present(resource, item) for item in found)
    if choice.kind == "Table":
        return render(table(resource, items, metadata, call.param("includeObject", "Metadata")), choice)
    if choice.kind == "PartialObjectMetadataList":
        head: Obj = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        return render({**head, "metadata": metadata, "items": [partial(item) for item in items]}, choice)
    if resource.custom is None:
        # Items of a typed list do not repeat their kind; those of a custom resource do.
        items = ({key: item[key] for key in item if key not in {"kind", "apiVersion"}} for item in items)
    metadata = metadata if resource.custom is None else {"continue": "", **metadata}
    head = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": metadata}
    return render({**head, "items": list(items)}, choice)
