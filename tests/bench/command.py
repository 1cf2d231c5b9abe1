"""What the commands that measure have in common: which parts, and where the figures go."""

import argparse
import json
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from tests.bench.report import Result, as_json, document, machine, markdown


def parser_of(name: str, description: str | None, parts: Collection[str], page: Path) -> argparse.ArgumentParser:
    """Return a parser with the flags that every such command has; figures may be written into `page`."""

    def chosen(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in parts]:
            raise argparse.ArgumentTypeError(f"there is no part {', '.join(unknown)}; there are {', '.join(parts)}")
        return names

    parser = argparse.ArgumentParser(
        prog=f"python -m {name}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=chosen, default=list(parts), help=f"some of {', '.join(parts)}, with commas")
    parser.add_argument("--output", choices=["table", "json"], default="table")
    parser.add_argument("--write", type=Path, metavar="FILE.json", help="write JSON there as well")
    where = f"docs/{page.name}"
    parser.add_argument("--document", action="store_true", help=f"write the tables into {where} as well")
    parser.set_defaults(page=page)
    return parser


def hand_out(results: Sequence[Result], options: argparse.Namespace) -> None:
    """Give the figures to whom the flags say."""
    text = json.dumps(as_json(results), indent=2) + "\n"
    if options.write:
        options.write.write_text(text, encoding="utf-8")
    if options.document:
        document(options.page, results)
    if options.output == "json":
        sys.stdout.write(text)
        return
    facts = machine()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    sys.stdout.write(f"{facts['cores']} cores ({facts['processor']}), Python {facts['python']}{load}\n\n")
    sys.stdout.write("\n".join(map(markdown, results)))
