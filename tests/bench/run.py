"""The benchmark as one command: everything it needs is started, measured and ended, and shown with ratios and spread.

`python -m tests.bench.run` (`make bench`) measures all parts in some minutes. Progress goes to stderr, the tables, or
JSON, to stdout. An endpoint that somebody else runs takes part in `hot` with
`--against 'peer=https://peer.example/mcp,tool,{"name": "x"},TOKEN'`; `@FILE` stands for a token in a file.
"""

import argparse
import sys
from collections.abc import Callable, Mapping

from tests.bench import costs, crowd, first, fleet, hot, lists, scale
from tests.bench.against import FORM, against
from tests.bench.command import hand_out, parser_of
from tests.bench.plan import Plan
from tests.bench.processes import tell
from tests.bench.report import PAGE, Result

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
    hand_out(results, options)


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("tests.bench.run", __doc__, PARTS, PAGE)
    parser.add_argument("--seconds", type=float, default=3, help="length of one load (3)")
    parser.add_argument("--rounds", type=int, default=3, help="loads of each server, taken in turns (3)")
    parser.add_argument("--against", type=against, action="append", default=[], metavar=FORM)
    return parser


if __name__ == "__main__":
    main()
