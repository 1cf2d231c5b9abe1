"""The benchmark as one command: everything it needs is started, measured and ended, and shown with ratios and spread.

`python -m tests.bench.run` (`make bench`) measures all parts in some minutes. Progress goes to stderr, the tables, or
JSON, to stdout. An endpoint that somebody else runs takes part in `hot` with
`--against 'peer=https://peer.example/mcp,tool,{"name": "x"},TOKEN'`; `@FILE` stands for a token in a file.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.bench import costs, crowd, first, fleet, hot, lists, scale
from tests.bench.against import FORM, against
from tests.bench.plan import Plan
from tests.bench.processes import tell
from tests.bench.report import Result, as_json, document, machine, markdown

PARTS: Mapping[str, Callable[[Plan], Result]] = {
    "hot": hot.run,
    "list": lists.run,
    "first": first.run,
    "fleet": fleet.run,
    "crowd": crowd.run,
    "costs": costs.run,
    "scale": scale.run,
}


def main() -> None:
    """Measure and show."""
    options = _parser().parse_args()
    plan = Plan(options.seconds, options.rounds, tuple(options.against))
    try:
        results = [PARTS[name](plan) for name in options.only]
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped\n")
        sys.exit(130)
    tell("")
    if options.write:
        options.write.write_text(json.dumps(as_json(results), indent=2) + "\n", encoding="utf-8")
    if options.document:
        document(results)
    _show(results, options.output)


def _show(results: Sequence[Result], output: str) -> None:
    if output == "json":
        sys.stdout.write(json.dumps(as_json(results), indent=2) + "\n")
        return
    facts = machine()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    sys.stdout.write(f"{facts['cores']} cores ({facts['processor']}), Python {facts['python']}{load}\n\n")
    sys.stdout.write("\n".join(markdown(result) for result in results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=_parts, default=list(PARTS), help=f"some of {', '.join(PARTS)}, with commas")
    parser.add_argument("--seconds", type=float, default=3, help="length of one load (3)")
    parser.add_argument("--rounds", type=int, default=3, help="loads of each server, taken in turns (3)")
    parser.add_argument("--output", choices=["table", "json"], default="table")
    parser.add_argument("--write", type=Path, metavar="FILE.json", help="write JSON there as well")
    parser.add_argument("--document", action="store_true", help="write the tables into docs/performance.md as well")
    parser.add_argument("--against", type=against, action="append", default=[], metavar=FORM)
    return parser


def _parts(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return names


if __name__ == "__main__":
    main()
