"""What the gateway withstands as one command: `python -m tests.bench.reliability` (`make reliability`).

Everything it needs is started, measured and ended: embedded clusters in processes of their own, the gateway on a core
of its own. Progress goes to stderr, the tables, or JSON, to stdout; with --document into docs/reliability.md as well.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.bench.command import hand_out, parser_of
from tests.bench.processes import tell
from tests.bench.reliability import crowd, dropped, forged, neighbours, parsing
from tests.bench.reliability.choice import Choice
from tests.bench.report import Result

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
    chosen = Choice(**{name: value for name, value in vars(options).items() if name in Choice.__dataclass_fields__})
    try:
        results = [PARTS[name](chosen) for name in options.only]
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped\n")
        sys.exit(130)
    tell("")
    hand_out(results, options)


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("tests.bench.reliability", __doc__, PARTS, PAGE)
    usual = Choice()
    parser.add_argument("--seconds", type=float, default=usual.seconds, help=f"length of one load ({usual.seconds:g})")
    parser.add_argument("--rounds", type=int, default=usual.rounds, help=f"loads, taken in turns ({usual.rounds})")
    parser.add_argument("--minutes", type=float, default=usual.minutes, help=f"of the crowd ({usual.minutes:g})")
    for name in ("sessions", "calls", "clusters", "principals"):
        value = getattr(usual, name)
        parser.add_argument(f"--{name}", type=int, default=value, help=f"how many ({value})")
    return parser


if __name__ == "__main__":
    main()
