"""The tool `resource_list`: objects of one kind, as the API server's own table or whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from gateway.access.continuation import Continuation
from gateway.access.session import ClusterSession
from gateway.kube.request import JSON, TABLE, Request
from gateway.kube.types import ResourceType
from gateway.redaction.objects import without_credentials
from gateway.redaction.text import Clean, due, redacted
from gateway.redaction.visible import visible
from gateway.tools import tables
from gateway.tools.naming import resource_type
from gateway.tools.shaping import as_json, as_yaml, fenced, fitted, parse, trimmed
from gateway.tools.tool import Arguments, Tool

MAX_ITEMS: Final = 500
"""Items of one answer; a larger wish is taken as this many."""
_AROUND: Final = 500
"""Characters of a table's first and last rows in which what stands before and after them may go on."""


class ListArguments(Arguments):
    """Arguments of `resource_list`."""

    resource: Annotated[str, Field(description="kind, plural, short name, or plural.group")]
    namespace: Annotated[str | None, Field(description="all if left out")] = None
    label_selector: str | None = None
    field_selector: str | None = None
    limit: Annotated[int, Field(ge=1)] = 100
    continue_: Annotated[str | None, Field(alias="continue", description="from the last answer")] = None
    output: Literal["table", "yaml", "json", "name"] = "table"
    include_annotations: bool = False


@dataclass(frozen=True, slots=True)
class _Page:
    """One page as lines to show; `next` is the API server's own continue token, `remaining` a count or None.

    `said` has all that a table's cells say, each thing once; `note` says what is not shown that should be.
    """

    heading: str
    items: tuple[str, ...]
    documents: tuple[Any, ...]
    next: str
    remaining: int | None
    said: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class ListTool:
    """`resource_list` with the key that binds its continue tokens."""

    continuation: Continuation

    async def run(self, session: ClusterSession, arguments: ListArguments) -> str:
        """List one page; where it is over the answer's budget, the largest part of it that fits."""
        kind = await resource_type(session, arguments.resource)
        binding = _binding(session, kind, arguments)
        token = self.continuation.open(arguments.continue_, *binding) if arguments.continue_ else ""
        limit = min(arguments.limit, MAX_ITEMS)
        budget = _budget(session)
        page = await _page(session, kind, arguments, token, limit)
        fitting = min(_fitting(page.items, budget), limit)
        if fitting < len(page.items):
            # Only the API server can say where the next page begins, so ask for just what fits.
            page = await _page(session, kind, arguments, token, max(fitting, 1))
            page = _cut(page, fitting, arguments.output, budget)
        following = self.continuation.seal(page.next, *binding)
        if arguments.output == "json":
            return _json(session, kind, page, following)
        return _text(session, kind, arguments, page, following)


def _binding(session: ClusterSession, kind: ResourceType, arguments: ListArguments) -> tuple[str, ...]:
    principal = session.principal
    return (
        principal.cluster_url,
        principal.issuer,
        principal.subject,
        kind.group,
        kind.version,
        kind.plural,
        arguments.namespace or "",
        arguments.label_selector or "",
        arguments.field_selector or "",
    )


def _budget(session: ClusterSession) -> int:
    return session.cluster.limits.answer_bytes - 1024


async def _page(session: ClusterSession, kind: ResourceType, arguments: ListArguments, token: str, limit: int) -> _Page:
    namespace = (arguments.namespace or "") if kind.namespaced else ""
    as_table = arguments.output in {"table", "name"}
    across = kind.namespaced and not namespace
    query = [("limit", str(limit))]
    if as_table:
        query.append(("includeObject", "Metadata" if across else "None"))
    if token:
        query.append(("continue", token))
    if arguments.label_selector:
        query.append(("labelSelector", arguments.label_selector))
    if arguments.field_selector:
        query.append(("fieldSelector", arguments.field_selector))
    request = Request(
        verb="list",
        group=kind.group,
        version=kind.version,
        resource=kind.plural,
        namespace=namespace,
        query=tuple(query),
        accept=TABLE if as_table else JSON,
    )
    document = await parse((await session.request(request, kind)).body)
    metadata = document.get("metadata") or {}
    redaction = session.cluster.redaction
    following = metadata.get("continue") or ""
    remaining = metadata.get("remainingItemCount")
    if document.get("kind") == "Table":
        lines = tables.lines(document, across=across, names=arguments.output == "name", redaction=redaction)
        return _Page(lines.heading, lines.rows, (), following, remaining, lines.said)
    documents = [trimmed(item, annotations=arguments.include_annotations) for item in document.get("items") or ()]
    items = tuple(_wholes(documents, arguments.output, _budget(session), redaction=redaction))
    return _Page("", items, tuple(documents), following, remaining)


def _wholes(documents: list[dict[str, Any]], output: str, budget: int, *, redaction: bool) -> Iterator[str]:
    """Write out each object, but those beyond the budget to nothing: no more of them is shown, and YAML is slow.

    In the list each is replaced by what may be shown of it.
    """
    for number, document in enumerate(documents):
        text = ""
        if budget >= 0:
            if redaction:
                document = documents[number] = without_credentials(document)  # noqa: PLW2901  # the whole list goes on
            # YAML is longer than JSON, so this does not fit either.
            long = output == "yaml" and len(as_json(document)) > budget
            text = _whole(document, "json" if long else output)
            budget -= len(text.encode()) + 1
        yield text


def _whole(item: dict[str, Any], output: str) -> str:
    if output == "yaml":
        return f"---\n{as_yaml(item)}"
    if output == "json":
        return as_json(item)
    metadata = item.get("metadata") or {}
    return "\t".join(part for part in (metadata.get("namespace"), metadata.get("name")) if part)


def _cut(page: _Page, fitting: int, output: str, budget: int) -> _Page:
    """Return what fits of a page that was asked for in this size, where even that is too much."""
    if fitting and fitting >= len(page.items):
        return page
    items, documents, notes = page.items, page.documents, []
    if len(items) > max(fitting, 1):
        notes.append(
            f"{len(items) - max(fitting, 1)} more are not shown, because this API has no pages: narrow with namespace "
            "or labelSelector."
        )
        items, documents = items[: max(fitting, 1)], documents[: max(fitting, 1)]
    if not fitting:
        notes.append("The item is too long, so parts are cut: resource_get with parameters.limitBytes reads more.")
        if documents:
            # YAML is longer than the JSON that is measured.
            document, _ = fitted(documents[0], budget if output == "json" else budget // 2)
            items, documents = (_whole(document, output),), (document,)
        else:
            items = (items[0].encode()[:budget].decode("utf-8", "ignore"),)
    return replace(page, items=items, documents=documents, note=" ".join(notes))


def _fitting(items: Sequence[str], budget: int) -> int:
    # No character takes more than four bytes, so that most pages need not be measured.
    if 4 * sum(map(len, items)) + len(items) <= budget:
        return len(items)
    count = 0
    for item in items:
        budget -= len(item.encode()) + 1
        if budget < 0:
            break
        count += 1
    return count


def _text(session: ClusterSession, kind: ResourceType, arguments: ListArguments, page: _Page, following: str) -> str:
    where = f" in namespace {arguments.namespace}" if arguments.namespace and kind.namespaced else ""
    head = f"cluster {session.cluster.shown} · {kind.qualified}{where}"
    if not page.items and not following:
        selected = " matching the selectors" if arguments.label_selector or arguments.field_selector else ""
        hint = ". A namespace that does not exist lists empty too: see resource_list namespaces" if where else ""
        return f"{head} · none{selected}{hint}"
    count = len(page.items)
    if following:
        said = f"{count} shown, about {page.remaining} more" if page.remaining else f"{count} shown, more follow"
    elif page.note:
        said = f"{count} shown"
    else:
        said = f"last {count}" if arguments.continue_ else f"{count} in all"
    lines = [line for line in (page.heading, *page.items) if line]
    head = f"{head} · {said}"
    # What events say was written by whoever runs in the cluster.
    said_by_others = (kind.plural, arguments.output) == ("events", "table")
    text = fenced(head, lines) if said_by_others else "\n".join([head, *lines])
    last = "\n".join(part for part in (page.note, f"continue: {following}" if following else "") if part)
    text = f"{text}\n{last}" if last else text
    # Beside the cells there is only what stands at both ends, and what that may begin or end.
    ends = text[: len(head) + len(page.heading) + _AROUND], text[-len(last) - _AROUND :]
    return Clean(text) if page.said and _are_clean(page.said, *ends) else text


def _are_clean(cells: str, *ends: str) -> bool:
    """Whether a table need not be looked at as a whole when it leaves: what no cell says, no row says either.

    Hidden characters in cells were written out, each cell by itself.
    """
    return due(cells.encode()) is None and all(redacted(end) == end == visible(end) for end in ends)


def _json(session: ClusterSession, kind: ResourceType, page: _Page, following: str) -> str:
    answer: dict[str, Any] = {"cluster": session.cluster.name, "resource": kind.qualified, "items": page.documents}
    if page.note:
        answer["note"] = page.note
    if following:
        answer |= {"continue": following, "remaining": page.remaining}
    return as_json(answer)


def tool(continuation: Continuation) -> Tool[ListArguments]:
    """Make the tool; its continue tokens are bound under this key."""
    return Tool(
        name="resource_list",
        title="List resources",
        description="Objects of one kind, in pages: a table, just names (shortest), or whole (yaml, json).",
        arguments=ListArguments,
        run=ListTool(continuation).run,
    )
