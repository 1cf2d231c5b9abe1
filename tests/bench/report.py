"""Boundary between figures and who reads them: tables in Markdown, JSON, and the marked places of a page."""

import os
import platform
import re
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of finished text under columns; the first column is words, the others figures."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What one part measured: tables to read, and the figures behind them as they go into JSON."""

    part: str
    tables: Sequence[Table]
    figures: Any


def machine() -> dict[str, object]:
    """Say what the figures were measured on."""
    processor = platform.machine()
    described = Path("/proc/cpuinfo")
    if described.exists():
        found = re.search(r"^model name\s*: (.+)$", described.read_text(encoding="utf-8"), re.MULTILINE)
        processor = found[1] if found else processor
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cores": cores,
        "processor": processor,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def markdown(result: Result) -> str:
    """Return a part's tables."""
    return "\n".join(_table(table) for table in result.tables)


def _table(table: Table) -> str:
    alignment = ["---", *("---:" for _ in table.columns[1:])]
    lines = [f"**{table.title}**", "", *(_row(cells) for cells in (table.columns, alignment, *table.rows))]
    return "\n".join([*lines, *(["", table.note] if table.note else []), ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    """Return everything that was measured, with the machine."""
    return {"machine": machine(), "parts": {result.part: result.figures for result in results}}


def into_page(page: str, name: str, text: str) -> str:
    """Return the page with this text between the markers of this name.

    Raises:
        ValueError: It has no such markers.
    """
    marked = re.compile(rf"(<!-- bench:{name} -->\n).*?(<!-- /bench:{name} -->)", re.DOTALL)
    if not marked.search(page):
        raise ValueError(f"the page has no place for {name}")
    return marked.sub(lambda found: f"{found[1]}\n{text.strip()}\n\n{found[2]}", page)


def document(page: Path, results: Sequence[Result]) -> None:
    """Write each part's tables into the page, with the machine they were measured on."""
    text = page.read_text(encoding="utf-8")
    facts = machine()
    for result in results:
        on = f"Measured on {facts['cores']} cores ({facts['processor']}), Python {facts['python']}."
        text = into_page(text, result.part, f"{markdown(result)}\n{on}")
    page.write_text(text, encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some figures, and the least and the most of them."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> "Spread":
        """Take at least one figure."""
        return cls(statistics.median(figures), min(figures), max(figures))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}-{self.most:.2f})"

    def json(self) -> dict[str, float]:
        """Return it as it goes into JSON."""
        return asdict(self)
