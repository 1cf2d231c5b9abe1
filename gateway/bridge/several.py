"""Boundary between several clusters and a client that sees one server: the `cluster` argument, lists, URIs, cursors.

Everything here is pure. A tool or a prompt is listed once, whatever the number of clusters; an object's URI has its
cluster as the first segment.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote

from mcp.shared.exceptions import MCPError

ARGUMENT: Final = "cluster"
_VARIABLE: Final = f"{{{ARGUMENT}}}/"

Json = dict[str, Any]


Answer = Sequence[Json] | MCPError
"""What a cluster lists, or why that is not known."""


@dataclass(frozen=True, slots=True)
class Listed:
    """What each cluster lists of one sort, None where it could not be asked."""

    by_cluster: Mapping[str, Sequence[Json] | None]

    @classmethod
    def of(cls, answers: Mapping[str, Answer]) -> "Listed":
        """Take these answers; raises the first failure where there is nothing else."""
        failures = [answer for answer in answers.values() if isinstance(answer, MCPError)]
        if len(failures) == len(answers):
            raise failures[0]
        return cls({name: None if isinstance(answer, MCPError) else answer for name, answer in answers.items()})

    def union(self, key: str) -> list[tuple[Json, tuple[str, ...]]]:
        """Return each different entry once, by its `key`, with the clusters that have it, or may have it."""
        entries: dict[str, Json] = {}
        for listed in self.by_cluster.values():
            for entry in listed or ():
                entries.setdefault(entry[key], entry)
        return [(entry, self._holders(key, name)) for name, entry in entries.items()]

    def _holders(self, key: str, name: str) -> tuple[str, ...]:
        return tuple(
            cluster
            for cluster, listed in self.by_cluster.items()
            if listed is None or any(entry[key] == name for entry in listed)
        )


def tool_of(tool: Json, clusters: Iterable[str]) -> Json:
    """Return the tool with the argument that says on which of these clusters."""
    schema = tool["inputSchema"]
    argument = {ARGUMENT: {"type": "string", "enum": [*clusters]}}
    extended = {
        **schema,
        "properties": argument | schema.get("properties", {}),
        "required": [ARGUMENT, *schema.get("required", ())],
    }
    return {**tool, "inputSchema": extended}


def prompt_of(prompt: Json, clusters: Iterable[str]) -> Json:
    """Return the prompt with the argument that says on which of these clusters."""
    argument = {"name": ARGUMENT, "description": f"One of {', '.join(clusters)}.", "required": True}
    return {**prompt, "arguments": [argument, *prompt.get("arguments", ())]}


def template_of(template: Json) -> Json:
    """Return the resource template with the cluster as a variable."""
    scheme, separator, rest = template["uriTemplate"].partition("://")
    return {**template, "uriTemplate": f"{scheme}{separator}{_VARIABLE}{rest}"}


def inner_template(uri: str) -> str:
    """Undo `template_of` for its URI."""
    return uri.replace(_VARIABLE, "", 1)


def outer_uri(cluster: str, uri: str) -> str:
    """Return the URI with the cluster as its first segment."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{quote(cluster, safe='')}/{rest}"


def inner_uri(uri: str) -> tuple[str, str]:
    """Return the cluster and the URI as the cluster knows it."""
    scheme, separator, rest = uri.partition("://")
    cluster, _, rest = rest.partition("/")
    return unquote(cluster), f"{scheme}{separator}{rest}"


def without_cluster(arguments: Mapping[str, Any] | None) -> tuple[str, Json]:
    """Return the cluster that the arguments name, or an empty string, and the rest of them."""
    rest = dict(arguments or {})
    named = rest.pop(ARGUMENT, "")
    return named if isinstance(named, str) else "", rest


def cursor_of(position: int, inner: str) -> str:
    """Return the cursor of a list that goes through the clusters one after the other."""
    return f"{position}:{inner}"


def position_of(cursor: str | None) -> tuple[int, str | None]:
    """Return the number of the cluster, and the cursor there; the first one where there is no cursor that can be."""
    position, _, inner = (cursor or "").partition(":")
    return int(position) if position.isdecimal() else 0, inner or None


def instructions(by_cluster: Mapping[str, str | None]) -> str:
    """Say once what each cluster's server says of it, and what several have to do with each other."""
    firsts: list[str] = []
    rest = ""
    for cluster, text in by_cluster.items():
        first, _, more = (text or "not reached yet").partition(". ")
        rest = rest or more
        firsts.append(f"- {cluster}: {first}")
    names = "\n".join(firsts)
    return (
        f"{len(by_cluster)} Kubernetes clusters. Each tool takes `{ARGUMENT}`, so the same call can be made on several "
        f"to compare them; calls that answers suggest need it too. URIs of resources have it as their first segment."
        f"\n{names}\n{rest}"
    ).rstrip()


def about(cluster: str, filled: Json) -> Json:
    """Return a filled-in prompt whose first words say which cluster it is about."""
    first, *others = filled["messages"]
    content = first["content"]
    if content.get("type") == "text":
        words = f"This is about cluster {cluster}: give `{ARGUMENT}: {cluster}` to each tool.\n\n"
        first = {**first, "content": {**content, "text": words + content["text"]}}
    return {**filled, "messages": [first, *others]}
