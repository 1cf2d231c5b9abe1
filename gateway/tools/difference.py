"""Boundary between what an object is and what it would become, and the lines in which agents and people see that.

Objects are shown as YAML would show them, only safer to read: nothing is hidden by invisible or reordering characters,
and annotations are never left out, because server-side apply would delete what a trimmed manifest lacks.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson

from gateway.redaction.visible import visible

_CONTEXT: Final = 3
_LINES_SQUARED: Final = 4_000_000
"""Changed lines before times after from which no finest difference is looked for: that takes quadratic time."""
_MOST_COMPARED: Final = 20_000_000
"""Comparisons, about a second of them, that the finest difference may take: equal lines make it cubic."""
_LOOK_BACK: Final = 2000
"""Lines that are looked through for the field that a hunk begins in."""
_LONG: Final = 300
"""Characters from which a line is shortened: an unchanged one at its end, a changed one where both are equal."""
_NEAR: Final = 60
"""Characters that stay on each side of what a shortened line changes."""
_METADATA: Final = frozenset(
    {"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink", "deletionTimestamp"}
)
_PLAIN: Final = re.compile(r"[A-Za-z_./][A-Za-z0-9_./@%+=,:-]*( [A-Za-z0-9_./@%+=(),:-]+)*").fullmatch
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off"})


def without_noise(content: dict[str, Any]) -> dict[str, Any]:
    """Return the object without its status and what the API server keeps for itself; nothing is changed in place."""
    kept = {key: value for key, value in content.items() if key != "status"}
    metadata = content.get("metadata")
    if isinstance(metadata, dict):
        kept["metadata"] = {key: value for key, value in metadata.items() if key not in _METADATA}
    return kept


def addition(content: dict[str, Any]) -> list[str]:
    """Return the lines of an object that would be created, each with `+`."""
    return [f"+{line}" for line in _lines(without_noise(content))]


def difference(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return a unified difference of two states of an object, empty where nothing but noise differs.

    A hunk's heading names the field that it begins in.
    """
    old, new = list(_lines(without_noise(before))), list(_lines(without_noise(after)))
    found: list[str] = []
    for group in _groups(old, new):
        start, end = group[0], group[-1]
        heading = f"@@ -{start[1] + 1},{end[2] - start[1]} +{start[3] + 1},{end[4] - start[3]} @@"
        found.append(f"{heading} {_parent(new, start[3])}".rstrip())
        for tag, low, high, from_, to in group:
            if tag == "equal":
                found += [f" {_short(line)}" for line in old[low:high]]
                continue
            gone, come = old[low:high], new[from_:to]
            if len(gone) == len(come):
                pairs = [_shortened(*pair) for pair in zip(gone, come, strict=True)]
                gone, come = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            found += [f"-{line}" for line in gone]
            found += [f"+{line}" for line in come]
    return found


def fitting(parts: Sequence[Sequence[str]], budget: int) -> list[list[str]]:
    """Return as many lines of each part as fit into `budget` bytes together; small parts are not cut for large ones.

    What is left out of a part is said in its last line.
    """
    fitted: list[list[str]] = [[] for _ in parts]
    sizes = sorted((sum(len(line.encode()) + 1 for line in part), index) for index, part in enumerate(parts))
    for done, (size, index) in enumerate(sizes):
        share = budget // (len(parts) - done)
        fitted[index] = list(parts[index]) if size <= share else _cut(parts[index], share)
        budget -= min(size, share)
    return fitted


def _cut(lines: Sequence[str], budget: int) -> list[str]:
    kept: list[str] = []
    budget -= _NEAR
    for line in lines:
        size = len(line.encode()) + 1
        if size > budget:
            break
        kept.append(line)
        budget -= size
    if not kept and budget > _NEAR:
        kept.append(f"{lines[0].encode()[:budget].decode(errors='ignore')}…")
    left = sum(line[0] in "+-" for line in lines[len(kept) :])
    return [*kept, f"…[{left} more changed lines not shown]"]


_Change = tuple[str, int, int, int, int]


def _groups(old: Sequence[str], new: Sequence[str]) -> list[list[_Change]]:
    """Return hunks of opcodes, as `difflib.SequenceMatcher.get_grouped_opcodes` has them, in bounded time."""
    if old == new:
        return []
    same = min(len(old), len(new))
    head = next((i for i in range(same) if old[i] != new[i]), same)
    tail = next((i for i in range(same - head) if old[-1 - i] != new[-1 - i]), same - head)
    middle_old, middle_new = old[head : len(old) - tail], new[head : len(new) - tail]
    autojunk = _compared(middle_old, middle_new, autojunk=False) > _MOST_COMPARED
    if len(middle_old) * len(middle_new) > _LINES_SQUARED or (
        autojunk and _compared(middle_old, middle_new, autojunk=True) > _MOST_COMPARED
    ):
        first, last = max(head - _CONTEXT, 0), min(tail, _CONTEXT)
        low, high = len(old) - tail, len(new) - tail
        changes = [
            ("equal", first, head, first, head),
            ("replace", head, low, head, high),
            ("equal", low, low + last, high, high + last),
        ]
        return [changes]
    first, last = max(head - _CONTEXT, 0), min(tail, _CONTEXT)
    part_old, part_new = old[first : len(old) - tail + last], new[first : len(new) - tail + last]
    matcher = difflib.SequenceMatcher(None, part_old, part_new, autojunk=autojunk)
    return [
        [(tag, a + first, b + first, c + first, d + first) for tag, a, b, c, d in group]
        for group in matcher.get_grouped_opcodes(_CONTEXT)
    ]


def _compared(old: Sequence[str], new: Sequence[str], *, autojunk: bool) -> int:
    """Return how many comparisons difflib needs at worst: all pairs of equal lines, anew for each line that is equal.

    With `autojunk` it begins no match at a line that is over a hundredth of at least 200.
    """
    gone, come = Counter(old), Counter(new)
    often = len(new) // 100 + 1 if autojunk and len(new) >= 200 else len(new)  # noqa: PLR2004  # difflib's own numbers
    pairs = sum(count * come[line] for line, count in gone.items() if come[line] <= often)
    return (len(old) + pairs) * min(len(old), len(new))


def _parent(lines: Sequence[str], index: int) -> str:
    """Return the path of the field that a line stands in, by the indentation of the lines above it."""
    if index >= len(lines):
        return ""
    depth = _depth(lines[index])
    path: list[str] = []
    for line in reversed(lines[max(0, index - _LOOK_BACK) : index]):
        if _depth(line) < depth:
            depth = _depth(line)
            key, colon, value = line.strip().partition(":")
            item = key.startswith("- ")
            path.append(f"[{value.strip() if key == '- name' else ''}]" if item else f".{key}" if colon else "")
        if depth == 0:
            break
    return "".join(reversed(path)).lstrip(".")


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _short(line: str) -> str:
    return line if len(line) <= _LONG else f"{line[: _LONG - _NEAR]}…[{len(line) - _LONG + _NEAR} more characters]"


def _shortened(old: str, new: str) -> tuple[str, str]:
    """Leave out what is equal in two long lines, but not what changed."""
    if max(len(old), len(new)) <= _LONG:
        return old, new
    same = min(len(old), len(new))
    head = next((i for i in range(same) if old[i] != new[i]), same)
    tail = next((i for i in range(same - head) if old[-1 - i] != new[-1 - i]), same - head)
    before = f"{old[:_NEAR]}…" if head > 2 * _NEAR else old[:head]
    start = head - _NEAR if head > 2 * _NEAR else head
    cut = max(tail - _NEAR, 0)
    after = "…" if cut else ""
    return before + old[start : len(old) - cut] + after, before + new[start : len(new) - cut] + after


def _lines(node: Any, indent: str = "") -> Iterator[str]:  # JSON
    """Show a value as YAML would; only ever compared and read, never parsed again."""
    pairs = ((f"{_string(key)}:", value) for key, value in node.items()) if isinstance(node, dict) else None
    for head, value in pairs if pairs is not None else (("-", item) for item in node):
        if isinstance(value, dict | list) and value:
            nested = _lines(value, indent + "  ")
            if head == "-":
                # The first line of an item stands beside its dash.
                yield f"{indent}- {next(nested).strip(' ')}"
            else:
                yield indent + head
            yield from nested
        elif isinstance(value, str) and "\n" in value:
            chomped = "" if value.endswith("\n") else "-"
            yield f"{indent}{head} |{chomped}"
            for line in value.removesuffix("\n").split("\n"):
                yield f"{indent}  {visible(line)}"
        else:
            yield f"{indent}{head} {_inline(value)}"


def _inline(value: Any) -> str:  # JSON
    return _string(value) if isinstance(value, str) else orjson.dumps(value).decode()


def _string(text: str) -> str:
    if _PLAIN(text) and text.lower() not in _WORDS and ": " not in f"{text} ":
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{visible(escaped)}"'
