"""What the gateway withstands as one command: `python -m tests.bench.reliability` (`make reliability`).

Everything it needs is started, measured and ended: embedded clusters in processes of their own, the gateway on a core
of its own. Progress goes to stderr, the tables, or JSON, to stdout; with --document into docs/reliability.md as well.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.bench.processes import tell
from tests.bench.reliability import crowd, dropped, forged, neighbours, parsing
from tests.bench.reliability.choice import Choice
from tests.bench.report import Result, as_json, into_page, machine, markdown

PAGE = Path(__file__).parents[3] / "docs" / "reliability.md"
PARTS: Mapping[str, Callable[[Choice], Result]] = {
    "parsing": parsing.run,
    "neighbours": neighbours.run,
    "crowd": crowd.run,
    "sessions": dropped.sessions,
    "cancelled": dropped.cancelled,
    "forged": forged.run,
}


def main() -> None:
    """Measure and show."""
    options = _parser().parse_args()
    chosen = {name: value for name, value in vars(options).items() if name in Choice.__dataclass_fields__}
    results = [PARTS[name](Choice(**chosen)) for name in options.only]
    tell("")
    if options.write:
        options.write.write_text(json.dumps(as_json(results), indent=2) + "\n", encoding="utf-8")
    if options.document:
        _document(results)
    text = json.dumps(as_json(results), indent=2) if options.output == "json" else "\n".join(map(markdown, results))
    sys.stdout.write(text + "\n")


def _document(results: list[Result]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    facts = machine()
    for result in results:
        on = f"Measured on {facts['cores']} cores ({facts['processor']}), Python {facts['python']}."
        page = into_page(page, result.part, f"{markdown(result)}\n{on}")
    PAGE.write_text(page, encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.reliability",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    usual = Choice()
    parser.add_argument("--only", type=_parts, default=list(PARTS), help=f"some of {', '.join(PARTS)}, with commas")
    parser.add_argument("--seconds", type=float, default=usual.seconds, help=f"length of one load ({usual.seconds:g})")
    parser.add_argument("--rounds", type=int, default=usual.rounds, help=f"loads, taken in turns ({usual.rounds})")
    parser.add_argument("--minutes", type=float, default=usual.minutes, help=f"of the crowd ({usual.minutes:g})")
    for name in ("sessions", "calls", "clusters", "principals"):
        value = getattr(usual, name)
        parser.add_argument(f"--{name}", type=int, default=value, help=f"how many ({value})")
    parser.add_argument("--output", choices=["table", "json"], default="table")
    parser.add_argument("--write", type=Path, metavar="FILE.json", help="write JSON there as well")
    parser.add_argument("--document", action="store_true", help="write the tables into docs/reliability.md as well")
    return parser


def _parts(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return names


if __name__ == "__main__":
    main()
