"""Boundary to the clusters a settings file lists, read for two values of each and not checked.

Checking a whole file takes a second of imports, and agents' clients run `token` before every connection. What is wrong
with a file `serve` and `check` say.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from gateway.clusters.urls import canonical_url
from gateway.errors import BadArgument
from gateway.operator.kubeconfig import Context, KubeconfigError, read_context, read_contexts
from gateway.operator.naming import label

DEFAULT_AUDIENCE: Final = "k-mcp"
_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Target:
    """A cluster that a token is for: as the gateway lists it, and the context that leads there.

    `default_audience` is empty where the settings do not say it; `audience` is the gateway's own.
    """

    name: str
    server: str
    audience: str
    default_audience: str
    context: Context


def target(
    file: Path | None, cluster: str | None, kubeconfig: Path | None, context: str | None, audience: str | None
) -> Target:
    """Find the cluster: by its name in the settings, by its context, or the current context's.

    Raises:
        BadArgument: There is no such cluster, or no context leads to it.
        KubeconfigError: The kubeconfig can't be used.
    """
    if file is None:
        found = read_context(kubeconfig, context or cluster)
        return Target(label(found.name), _canonical(found.server), audience or DEFAULT_AUDIENCE, "", found)
    settings = _document(file)
    clusters = list(_listed(file, settings))
    chosen, found = (
        _by_name(file, clusters, cluster, kubeconfig, context)
        if cluster or len(clusters) == 1
        else (_by_context(file, clusters, kubeconfig, context))
    )
    gateways_own = audience or str(settings.get("audience") or DEFAULT_AUDIENCE)
    default_audience = str(chosen.get("defaultAudience") or "")
    return Target(str(chosen.get("name")), _canonical(chosen["server"]), gateways_own, default_audience, found)


def _by_name(
    file: Path, clusters: list[Mapping[str, Any]], cluster: str | None, kubeconfig: Path | None, context: str | None
) -> tuple[Mapping[str, Any], Context]:
    named = [one for one in clusters if cluster in (None, one.get("name"))]
    if not named:
        listed = ", ".join(str(one.get("name")) for one in clusters) or "none"
        raise BadArgument(f"{file} lists no cluster {cluster!r}. It lists: {listed}.")
    (chosen, *_) = named
    if context:
        return chosen, read_context(kubeconfig, context)
    addresses = {_canonical(str(chosen[key])) for key in ("server", "address") if chosen.get(key)}
    for found in read_contexts(kubeconfig):
        if _canonical(found.server) in addresses:
            return chosen, found
    raise KubeconfigError(
        f"No context of the kubeconfig leads to {chosen.get('name')} ({chosen['server']}); name one with --context."
    )


def _by_context(
    file: Path, clusters: list[Mapping[str, Any]], kubeconfig: Path | None, context: str | None
) -> tuple[Mapping[str, Any], Context]:
    found = read_context(kubeconfig, context)
    for one in clusters:
        if _canonical(found.server) in {_canonical(str(one[key])) for key in ("server", "address") if one.get(key)}:
            return one, found
    listed = ", ".join(str(one.get("name")) for one in clusters) or "none"
    raise BadArgument(
        f"Context {found.name!r} leads to {found.server}, which {file} does not list. "
        f"Name one of its clusters: {listed}."
    )


def _listed(file: Path, settings: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    clusters = settings.get("clusters")
    yield from (one for one in (clusters if isinstance(clusters, list) else []) if _is_cluster(one))
    if isinstance(directory := settings.get("clustersDirectory"), str):
        for path in sorted((file.parent / directory).glob("[!.]*.y*ml")):
            if _is_cluster(one := _document(path)):
                yield one


def _is_cluster(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("server"), str)


def _document(file: Path) -> Mapping[str, Any]:
    try:
        document = yaml.load(file.read_text(encoding="utf-8"), _Loader)  # noqa: S506  # a safe loader
    except OSError as error:
        raise BadArgument(f"The settings {file} can't be read: {error.strerror}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadArgument(f"The settings {file} are not YAML; `check --config {file}` says where.") from error
    return document if isinstance(document, dict) else {}


def _canonical(url: str) -> str:
    try:
        return canonical_url(url)
    except ValueError:
        return url
