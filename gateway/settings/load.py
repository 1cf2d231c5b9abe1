"""Boundary between all that was written about settings and one valid value, or every mistake there is, at once."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.clusters.options import ClusterOptions
from gateway.settings.checks import NO_CLUSTER, cluster_problems, listener_problems, sealing_problems, tls_problems
from gateway.settings.model import Settings, SettingsError
from gateway.settings.places import COMMAND_LINE, ENVIRONMENT, Path_, Place, Written, where
from gateway.settings.shape import over, tidy
from gateway.settings.sources import read_environment, read_yaml
from gateway.settings.words import sentence

_Model = TypeVar("_Model", bound=BaseModel)

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def load_settings(file: Path | None = None, overrides: Mapping[str, Any] = _NOTHING) -> Settings:
    """Read the settings: `overrides` (flags, in the file's shape) win over the environment, that over the file.

    Clusters add up: those of the file, of its `clustersDirectory`, of the environment and of `overrides` are all
    served. Relative paths in a file are relative to that file.

    Raises:
        SettingsError: There are mistakes, all of which it names.
    """
    sources, problems = _read(file, overrides)
    merged: dict[str, Any] = {}
    for source in sources:
        merged = over(merged, source.data)
    listed, more = _listed(sources, merged.get("clustersDirectory"))
    problems += more
    if not listed and not problems:
        problems.append(NO_CLUSTER)
    merged.pop("clusters", None)

    settings, errors = _validate(Settings, merged)
    for error in errors:
        place = where(error["loc"], sources)
        problems.append(f"{place}: {sentence(error, environment=place.source == ENVIRONMENT)}")
    clusters = []
    for cluster in listed:
        options, wrong = _validate(ClusterOptions, cluster.data)
        problems += [f"{cluster.place.at(*error['loc'])}: {sentence(error)}" for error in wrong]
        if options is not None:
            clusters.append(options)

    if settings is not None:
        problems += listener_problems(settings, sources, [error["loc"] for error in errors])
    problems += tls_problems(merged, sources)
    problems += sealing_problems(merged, sources)
    problems += cluster_problems(listed)
    if problems or settings is None:
        raise SettingsError(tuple(problems))
    return settings.model_copy(update={"clusters": tuple(clusters)})


def _read(file: Path | None, overrides: Mapping[str, Any]) -> tuple[list[Written], list[str]]:
    """Return what each source sets, lowest first."""
    problems: list[str] = []
    sources = []
    written: list[tuple[Place, dict[str, Any], Path | None]] = []
    if file is not None:
        data, problems = read_yaml(file)
        written.append((Place(str(file)), data, file.parent))
    environment, more = read_environment()
    problems += more
    written += [(Place(ENVIRONMENT), environment, None), (Place(COMMAND_LINE), dict(overrides), None)]
    for place, data, base in written:
        declared, unknown = tidy(data, Settings, place, base)
        sources.append(Written(place, declared))
        problems += unknown
    return sources, problems


def _listed(sources: list[Written], directory: Any) -> tuple[list[Written], list[str]]:
    """Return every cluster that is listed anywhere, with where, and what is wrong with the lists themselves."""
    listed: list[Written] = []
    problems: list[str] = []
    for source in sources:
        clusters = source.data.get("clusters", [])
        place = source.place.at("clusters")
        if not isinstance(clusters, list):
            how = " as JSON" if place.source == ENVIRONMENT else ""
            problems.append(f"{place}: expected a list of clusters{how}, each with name and server")
            continue
        for index, cluster in enumerate(clusters):
            if isinstance(cluster, dict):
                listed.append(Written(place.at(index), cluster))
            else:
                problems.append(f"{place.at(index)}: expected a section with name and server")
    if isinstance(directory, str | Path):
        try:
            files = sorted(path for path in Path(directory).iterdir() if path.suffix in (".yaml", ".yml"))
        except OSError as error:
            place = where(("clustersDirectory",), sources)
            return listed, [*problems, f"{place}: {directory} can't be read: {error.strerror}"]
        for path in files:
            # Editors keep their copies, and Kubernetes its mounted volumes' versions, under hidden names.
            if not path.name.startswith("."):
                data, more = read_yaml(path)
                cluster, unknown = tidy(data, ClusterOptions, Place(str(path)), path.parent)
                problems += [*more, *unknown]
                if not more or cluster:
                    listed.append(Written(Place(str(path)), cluster))
    return listed, problems


def _validate(model: type[_Model], data: dict[str, Any]) -> tuple[_Model | None, list[ErrorDetails]]:
    """Validate; where values are wrong, return what the rest makes, with defaults in their places, and the errors."""
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
    try:
        return model.model_validate(_without(data, [found["loc"] for found in errors])), errors
    except ValidationError:
        return None, errors


def _without(data: dict[str, Any], paths: list[Path_]) -> dict[str, Any]:
    kept = {}
    for key, value in data.items():
        inside = [path[1:] for path in paths if path[:1] == (key,)]
        if isinstance(value, dict) and inside and all(inside):
            kept[key] = _without(value, inside)
        elif not inside:
            kept[key] = value
    return kept
