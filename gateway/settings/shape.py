"""Boundary between what was written and what the options declare: unknown words, and what paths are relative to."""

from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from gateway.settings.places import ENVIRONMENT, Place


def _plain(annotation: Any) -> Any:
    """Return the type that is asked for, without `| None` and notes."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
        return _plain(kinds[0]) if len(kinds) == 1 else annotation
    return annotation


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the options that a section of this type declares; None for anything but a section."""
    kind = _plain(annotation)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def tidy(
    data: dict[str, Any], model: type[BaseModel], place: Place, base: Path | None
) -> tuple[dict[str, Any], list[str]]:
    """Return the declared keys that have a value, and a problem for each word nobody declared.

    Relative paths become relative to `base`.
    """
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    kept: dict[str, Any] = {}
    problems = []
    for written, value in data.items():
        key = to_camel(written) if place.source == ENVIRONMENT else written
        field = fields.get(key)
        if field is None:
            problems.append(f"{place.at(str(key))}: {_unknown(str(written), list(fields))}")
            continue
        if value is not None:
            kept[key], more = _tidied(value, _plain(field.annotation), place.at(key), base)
            problems += more
    return kept, problems


def _tidied(value: Any, kind: Any, place: Place, base: Path | None) -> tuple[Any, list[str]]:
    section = section_of(kind)
    if section is not None and isinstance(value, dict):
        return tidy(value, section, place, base)
    if isinstance(value, list) and (inner := get_args(kind)):
        items = [_tidied(item, _plain(inner[0]), place.at(index), base) for index, item in enumerate(value)]
        return [item for item, _ in items], [problem for _, found in items for problem in found]
    if base is not None and kind is Path and isinstance(value, str):
        return str(base / value), []
    return value, []


def _unknown(word: str, known: list[str]) -> str:
    near = get_close_matches(to_camel(word).lower(), [key.lower() for key in known], n=1, cutoff=0.7)
    if near:
        return f"is no setting; did you mean {next(key for key in known if key.lower() == near[0])}?"
    return f"is no setting; here can be {', '.join(known)}"


def over(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    """Merge two trees of settings; where both have a value, the higher one's counts."""
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        merged[key] = over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
