"""Boundary between an API server's own table and text: a line for each row, in the columns that say something.

A page has thousands of cells, so that each question is asked of a column at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.redaction.masks import plain
from gateway.redaction.names import is_secret
from gateway.redaction.text import NAMED
from gateway.tools.shaping import one_line

_HEADING: Final = 60
"""Characters of a column's name."""
_EMPTY: Final = frozenset({"", "<none>", "<unset>"})
_PLAIN: Final = bytes(range(0x20, 0x7F))
"""What can be seen of ASCII. Whether anything else is there, a text is asked in a third of `str.isprintable`'s time."""


@dataclass(frozen=True, slots=True)
class Lines:
    """A table's heading, a line for each row, and all that their cells say, each thing once."""

    heading: str
    rows: tuple[str, ...]
    said: str


def lines(table: dict[str, Any], *, across: bool, names: bool, redaction: bool) -> Lines:
    """Write out a table as `shaping.parse` returns it, without columns of low priority and those that say nothing.

    `across` puts each row's namespace before it; with `names` there is just the column of that name, and no heading.
    """
    definitions = table.get("columnDefinitions") or []
    rows = table.get("rows") or []
    numbers = [i for i, column in enumerate(definitions) if not column.get("priority")]
    if names:
        # Of events it is neither the first column nor one that is shown otherwise.
        numbers = [i for i, column in enumerate(definitions) if str(column.get("name")).lower() == "name"] or numbers
    cells = list(zip(*[row["cells"] for row in rows], strict=False)) or [()] * len(definitions)
    columns = {i: _column(cells[i]) for i in (numbers[:1] if names else numbers)}
    shown = [i for i in columns if names or not columns[i].said <= _EMPTY] or numbers[:1]
    for i in shown:
        if redaction and is_secret(str(definitions[i].get("name"))):
            columns[i] = _column([text if text in _EMPTY else plain(NAMED, text) for text in columns[i].cells])
    heading = [one_line(definitions[i].get("name", ""))[:_HEADING].upper() for i in shown]
    written = [columns[i] for i in shown]
    if across:
        heading.insert(0, "NAMESPACE")
        written.insert(0, _column([((row.get("object") or {}).get("metadata") or {}).get("namespace") for row in rows]))
    by_row = zip(*[column.cells for column in written], strict=True) if written else [()] * len(rows)
    said = " ".join(set().union(*[column.said for column in written]))
    return Lines("" if names else "\t".join(heading), tuple(map("\t".join, by_row)), said)


@dataclass(frozen=True, slots=True)
class _Column:
    """Cells, each as text on one line, and what they say: most columns say little, again and again."""

    cells: Sequence[str]
    said: set[str]


def _column(values: Sequence[Any]) -> _Column:
    try:
        together = "".join(values)
    except TypeError:
        # Numbers, lists, nothing at all. To hash them before they are text would let who sends them choose the hashes.
        values = ["" if value is None else str(value) for value in values]
        together = "".join(values)
    # Most columns are plain; to look at each cell by itself takes longer than all the rest of a list.
    if together.encode().translate(None, _PLAIN):
        values = [one_line(text) for text in values]
    return _Column(values, set(values))
