"""Boundary between commands that add or remove a cluster and the settings file, of which every other byte stays.

The text is cut at the positions the YAML parser gives. A round trip through a YAML library would keep comments as well,
but moves those at the end of the list, and writes anew what it finds on the way.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from gateway.errors import GatewayError
from gateway.settings.load import load_settings
from gateway.settings.model import Settings, SettingsError

_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Dumper(yaml.SafeDumper):
    """YAML as people write it: lists indented, and text of several lines as such."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


def _list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.SequenceNode:
    flow = all(isinstance(item, str) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flow)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)


def with_cluster(text: str, entry: Mapping[str, Any]) -> str:
    """Return the file's text with one more cluster at the end of its list.

    Raises:
        GatewayError: The list is not written in a way that can be added to.
    """
    node = _clusters(text)
    if node is None:
        joint = "" if not text or text.endswith("\n") else "\n"
        changed = f"{text}{joint}clusters:\n{_item(entry, 2)}"
    elif not node.value:
        changed = (
            f"{text[: node.start_mark.index].rstrip(' ')}\n{_item(entry, 2)}{text[node.end_mark.index :].lstrip()}"
        )
    else:
        end = _end(text, node, len(node.value) - 1)
        lines = text.splitlines(keepends=True)
        before = "".join(lines[:end])
        joint = "" if before.endswith("\n") else "\n"
        changed = f"{before}{joint}{_item(entry, _dash(node))}{''.join(lines[end:])}"
    return _checked(text, changed, lambda clusters: [*clusters, dict(entry)])


def without_cluster(text: str, name: str) -> str:
    """Return the file's text without the cluster of this name; as it was where there is none.

    Raises:
        GatewayError: The list is not written in a way that can be cut.
    """
    node = _clusters(text)
    names = [_name(item) for item in node.value] if node is not None else []
    if node is None or name not in names:
        return text
    index = names.index(name)
    lines = text.splitlines(keepends=True)
    rest = [] if len(names) > 1 else ["clusters: []\n"]
    start = node.value[index].start_mark.line if rest == [] else node.start_mark.line - 1
    while rest and not lines[start].startswith("clusters"):
        start -= 1
    changed = "".join([*lines[:start], *rest, *lines[_end(text, node, index) :]])
    return _checked(text, changed, lambda clusters: [one for one in clusters if one.get("name") != name])


def checked_settings(file: Path, text: str) -> Settings | None:
    """Return the settings that a text would be at this place; None where only a cluster is missing in it.

    Raises:
        SettingsError: It has mistakes.
        GatewayError: Nothing can be written there.
    """
    with _draft(file, text) as draft:
        return _loaded(draft, file)


def write_settings(file: Path, text: str) -> Settings | None:
    """Check a text as the settings at this place, then put it there in one step; return what `checked_settings` does.

    Raises:
        SettingsError: It has mistakes, and nothing was written.
        GatewayError: It can't be written.
    """
    with _draft(file, text) as draft:
        settings = _loaded(draft, file)
        draft.chmod(file.stat().st_mode & 0o777 if file.exists() else 0o644)
        draft.replace(file.resolve())
        return settings


@contextmanager
def _draft(file: Path, text: str) -> Iterator[Path]:
    """Write a text beside a file, for its relative paths to mean the same; it is gone afterwards."""
    try:
        handle, name = tempfile.mkstemp(dir=file.resolve().parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as opened:
                opened.write(text)
                opened.flush()
                os.fsync(opened.fileno())
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise GatewayError(f"The settings {file} can't be written: {error.strerror}.") from error


def _loaded(draft: Path, file: Path) -> Settings | None:
    try:
        return load_settings(draft)
    except SettingsError as error:
        problems = tuple(problem.replace(str(draft), str(file)) for problem in error.problems)
        if len(problems) == 1 and problems[0].startswith("no cluster is listed"):
            return None
        raise SettingsError(problems) from error


def _clusters(text: str) -> yaml.SequenceNode | None:
    """Return the list of clusters as it is written; None where there is none, or nothing in it."""
    try:
        root = yaml.compose(text, _Loader)
    except yaml.YAMLError as error:
        raise GatewayError(f"The settings are not YAML: {' '.join(str(error).split())[:200]}") from error
    if root is None:
        return None
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    node = next((value for key, value in pairs if key.value == "clusters"), None)
    in_lines = isinstance(root, yaml.MappingNode) and not root.flow_style
    if node is not None:
        in_lines &= isinstance(node, yaml.SequenceNode) and not (node.flow_style and node.value)
    if not in_lines:
        raise GatewayError(
            "The settings' clusters are not written as a list with a dash for each, so none can be added or removed "
            "here; do it by hand."
        )
    return node


def _end(text: str, node: yaml.SequenceNode, index: int) -> int:
    """Return the line after an item: comments that are indented as it is belong to it, those less do not."""
    lines = text.splitlines()
    item = node.value[index]
    following = node.value[index + 1].start_mark.line if index + 1 < len(node.value) else len(lines)
    end = int(item.start_mark.line) + 1
    for number in range(end, following):
        stripped = lines[number].strip()
        if stripped and len(lines[number]) - len(lines[number].lstrip()) <= _dash(node):
            break
        if stripped:
            end = number + 1
    return end


def _dash(node: yaml.SequenceNode) -> int:
    return int(node.start_mark.column)


def _item(entry: Mapping[str, Any], indent: int) -> str:
    dumped = yaml.dump(dict(entry), Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)
    margin = " " * indent
    first, *rest = dumped.splitlines()
    return "".join([f"{margin}- {first}\n", *(f"{margin}  {line}\n" if line else "\n" for line in rest)])


def _name(node: yaml.Node) -> str:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((str(value.value) for key, value in pairs if key.value == "name"), "")


def _checked(before: str, after: str, change: Any) -> str:
    """Return the changed text, having read it: whatever was cut, it must say what is meant and nothing else."""
    meant = yaml.load(before, _Loader) or {}  # noqa: S506  # a safe loader
    meant["clusters"] = change(meant.get("clusters") or [])
    try:
        found = yaml.load(after, _Loader)  # noqa: S506
    except yaml.YAMLError:
        found = None
    if json.dumps(found, sort_keys=True, default=str) != json.dumps(meant, sort_keys=True, default=str):
        raise GatewayError("The settings are written in a way that can't be changed here; change them by hand.")
    return after
