"""Boundary to what people write settings in: YAML files and the environment."""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from gateway.settings.model import PREFIX, Settings
from gateway.settings.shape import section_of

MAX_FILE: Final = 1024 * 1024
"""Bytes in the largest file that is read."""


def read_text(path: Path) -> str:
    """Read a text file of at most 1 MiB.

    Raises:
        ValueError: It can't be read, is larger, or is no UTF-8; the text says which.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ValueError(f"can't be read: {error.strerror}") from error
    if len(content) > MAX_FILE:
        raise ValueError("is larger than 1 MiB; settings and certificates are small, so this is the wrong file")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text (byte {error.start})") from error


class _Loader(yaml.CSafeLoader):
    """Plain YAML, in which a key that is written twice is a mistake instead of the last one silently winning."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.repeated: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if key.value in seen:
                    self.repeated.append(f"line {line}: {key.value!r} was already written in line {seen[key.value]}")
                seen.setdefault(key.value, line)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Read a YAML file of keys and values; return them, and the problems with where in the file they are."""
    try:
        text = read_text(path)
    except ValueError as error:
        return {}, [f"{path} {error}"]
    loader = None
    try:
        loader = _Loader(text)
        data = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        return {}, [f"{path}: {at}not YAML: {error.problem or error.context}"]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return {}, [f"{path}: not YAML: {' '.join(str(error).split())[:200]}"]
    finally:
        if loader is not None:
            loader.dispose()
    problems = [f"{path}: {repeated}" for repeated in loader.repeated]
    if data is None:
        return {}, problems
    if not isinstance(data, dict):
        return {}, [*problems, f"{path}: expected keys and values, such as `audience: k-mcp`; found a {_kind(data)}"]
    return data, problems


def _kind(data: object) -> str:
    return "list" if isinstance(data, list) else "single value"


class _Environment(EnvSettingsSource):
    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            # Left as it is, it is named with all other mistakes instead of ending the search for them.
            return value


def read_environment() -> tuple[dict[str, Any], list[str]]:
    """Return what the environment sets, and the variables that look like settings but are none.

    Others with the prefix are left alone: Kubernetes sets some for a Service of the gateway's name.
    """
    known = {*_variables(Settings, PREFIX)}
    problems = []
    for name, value in os.environ.items():
        parents = {name.upper().rsplit("__", count)[0] for count in range(name.count("__") + 1)}
        if name.upper().startswith(PREFIX) and not parents & known and "://" not in value:
            near = get_close_matches(name.upper(), sorted(known), n=1, cutoff=0.9)
            if near:
                problems.append(f"environment: {name} is no setting; did you mean {near[0]}?")
    return _Environment(Settings)(), problems


def _variables(model: type[BaseModel], prefix: str) -> list[str]:
    names = []
    for name, field in model.model_fields.items():
        section = section_of(field.annotation)
        names.append(f"{prefix}{name.upper()}")
        if section is not None:
            names += _variables(section, f"{prefix}{name.upper()}__")
    return names
