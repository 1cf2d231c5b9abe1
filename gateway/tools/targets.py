"""Boundary between the documents of a manifest and what they mean on one cluster: types, namespaces, apply requests."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import orjson

from gateway.access.questions import Question
from gateway.access.session import ClusterSession
from gateway.discovery.catalog import Catalog
from gateway.discovery.resolve import One, Several, by_api_version, resolve
from gateway.errors import BadArgument, NotOffered
from gateway.kube.request import DRY_RUN, Request
from gateway.kube.types import ResourceType
from gateway.policy.rules import is_restricted, kind_is_offered
from gateway.redaction.visible import visible
from gateway.tools.manifests import Document
from gateway.tools.naming import shown

FIELD_MANAGER: Final = "kube-mcp-gateway"
CRD: Final = ("apiextensions.k8s.io", "customresourcedefinitions")
NAMESPACE: Final = ("", "namespaces")
_APPLY: Final = "application/apply-patch+yaml"
_LEARNED: Final = frozenset({"uid", "resourceVersion"})
_NAMED: Final = 3
"""Objects that a question names."""


@dataclass(frozen=True, slots=True)
class Target:
    """A document with the type it means and its namespace; `awaits` says why it can't be tried before it is written."""

    document: Document
    kind: ResourceType
    namespace: str
    awaits: str = ""

    @property
    def named(self) -> str:
        """Kind, namespace and name, for a line about it."""
        document = self.document
        namespace = f"{visible(self.namespace)}/" if self.namespace else ""
        return f"{visible(document.kind)} {namespace}{visible(document.name)}"

    @property
    def key(self) -> tuple[str, str]:
        """Group and plural."""
        return self.kind.group, self.kind.plural

    def request(self, *, force: bool, dry_run: bool, live: dict[str, Any] | None = None) -> Request:
        """Return the apply request; with `live`, it holds only while that is the object's state."""
        content = self.document.content
        metadata = dict(content["metadata"])
        if self.namespace:
            metadata["namespace"] = self.namespace
        if live is not None:
            metadata |= {key: live["metadata"][key] for key in _LEARNED if key in live["metadata"]}
        query = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")]
        query += [("force", "true")] if force else []
        query += [DRY_RUN] if dry_run else []
        return replace(
            self._request("patch"),
            query=tuple(query),
            body=orjson.dumps({**content, "metadata": metadata}),
            content_type=_APPLY,
        )

    def reading(self) -> Request:
        """Return the request that reads the live object."""
        return self._request("get")

    def _request(self, verb: Literal["get", "patch"]) -> Request:
        kind = self.kind
        return Request(
            verb=verb,
            group=kind.group,
            version=kind.version,
            resource=kind.plural,
            namespace=self.namespace,
            name=self.document.name,
        )


async def targets_of(
    session: ClusterSession, documents: tuple[Document, ...], namespace: str | None
) -> tuple[list[Target], str]:
    """Resolve every document by apiVersion and kind, and give each that needs one a namespace.

    What comes second is a sentence for the answer, where the namespace was not given, or an empty string.

    Raises:
        AnswerNeeded: The person is asked for a namespace.
        NotOffered: The cluster serves no such kind.
        BadArgument: An object stands in the manifest twice, or is of a kind that can't be changed.
    """
    defined = {
        key: kind
        for key, kind in _defined_by(documents).items()
        if not is_restricted(session.cluster.policy, kind.group, kind.plural)
        and kind_is_offered(session.cluster.policy, kind.group, kind.plural)
    }
    catalog = await session.catalog()
    if _unknown(catalog, defined, documents):
        # A kind may be younger than the catalog: look once more.
        catalog = await session.catalog(refresh=True)
    if unknown := _unknown(catalog, defined, documents):
        lines = [_no_such_kind(session, catalog, document) for document in unknown[:5]]
        raise NotOffered("\n".join([*lines, "Nothing was written."]))
    found: list[tuple[Document, ResourceType, str]] = []
    for document in documents:
        kind = by_api_version(catalog, document.api_version, document.kind)
        awaits = "" if kind else "this manifest brings its kind"
        found.append((document, kind or defined[document.api_version, document.kind], awaits))
    without = [document for document, kind, _ in found if kind.namespaced and not document.namespace]
    used, note = _namespace(session, without, namespace) if without else ("", "")
    targets = [
        Target(document, kind, (document.namespace or used) if kind.namespaced else "", awaits)
        for document, kind, awaits in found
    ]
    for each in targets:
        if "patch" not in each.kind.verbs:
            raise BadArgument(f"{each.named} ({each.document.where}) can't be applied: its kind takes no changes.")
    twice = [named for named, count in Counter((each.key, each.named) for each in targets).items() if count > 1]
    if twice:
        raise BadArgument(f"{twice[0][1]} stands in the manifest more than once. Nothing was written.")
    return targets, note


def _unknown(
    catalog: Catalog, defined: dict[tuple[str, str], ResourceType], documents: Iterable[Document]
) -> list[Document]:
    return [
        document
        for document in documents
        if by_api_version(catalog, document.api_version, document.kind) is None
        and (document.api_version, document.kind) not in defined
    ]


def _no_such_kind(session: ClusterSession, catalog: Catalog, document: Document) -> str:
    typed = f"{document.api_version}/{document.kind}"
    if document.api_version in catalog.broken:
        return f"{document.api_version} can't be read on this cluster at the moment ({document.where})."
    # Only the same kind in another API: of what is just similar, a restricted kind would have more or less than others.
    match = resolve(catalog, document.kind)
    near = (match.type,) if isinstance(match, One) else match.candidates if isinstance(match, Several) else ()
    names = ", ".join(f"{kind.api_version}/{kind.kind}" for kind in near)
    hint = f"Did you mean {names}?" if names else "Call resource_types to see what it serves."
    return f"Cluster {session.cluster.shown} serves no {shown(typed)!r} ({document.where}). {hint}"


def _namespace(session: ClusterSession, without: list[Document], given: str | None) -> tuple[str, str]:
    """Return the namespace for documents that name none, and what the answer says about it."""
    if given:
        return given, ""
    names = ", ".join(f"{shown(document.kind)} {shown(document.name)}" for document in without[:_NAMED])
    more = f" and {len(without) - _NAMED} more" if len(without) > _NAMED else ""
    question = Question("namespace", f"Cluster {session.cluster.shown}: which namespace for {names}{more}?")
    answer = (session.answers.ask(question) or "").strip()
    if answer:
        return answer, f"namespace {shown(answer)} as answered"
    return "default", "namespace default, because neither the manifest nor `namespace` names one"


def _defined_by(documents: Collection[Document]) -> dict[tuple[str, str], ResourceType]:
    """Return the types that the manifest's own CustomResourceDefinitions define, by (apiVersion, kind)."""
    found: dict[tuple[str, str], ResourceType] = {}
    for document in documents:
        if document.kind != "CustomResourceDefinition" or not document.api_version.startswith(f"{CRD[0]}/"):
            continue
        match document.content.get("spec"):
            case {"group": str(group), "names": {"kind": str(kind), "plural": str(plural)}, "versions": list(versions)}:
                namespaced = document.content["spec"].get("scope") == "Namespaced"
                for version in versions:
                    if isinstance(version, dict) and isinstance(name := version.get("name"), str):
                        verbs = frozenset({"get", "patch"})
                        defined = ResourceType(group, name, plural, kind, kind.lower(), namespaced, verbs)
                        found[defined.api_version, kind] = defined
            case _:
                continue
    return found
