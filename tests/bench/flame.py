"""Where the time of a warm call goes: a flame graph of the serving gateway, drawn as SVG.

`python -m tests.bench.flame [--seconds S]` writes docs/flame.svg, and into docs/performance.md whose code it was. The
gateway looks at its own stack some hundred times in each second of CPU time, while another process calls; what is wide
took long, and above a function stands what it called.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from tests.bench import processes
from tests.bench.hot import ARGUMENTS, listed, prepared
from tests.bench.load import MODERN, Target, measure
from tests.bench.report import PAGE, Result, Table, document, markdown
from tests.cluster.cluster import RealCluster

DRAWING = PAGE.with_name("flame.svg")
INTERVAL = 0.001
WIDTH, HEIGHT = 1200, 17
LEAST = 0.004
"""The smallest share of all samples that is drawn."""
SMALLEST = 0.02
"""The smallest share of a package that is named."""
COLOURS = {"gateway": "#f4a259", "hypercorn": "#8cb369", "aiohttp": "#5b8e7d", "": "#d9c8ae"}


def sampled(file: str, out: str) -> None:
    """Serve these settings until told to end, and write how often each stack was met."""
    from gateway.cli.serve import run  # noqa: PLC0415  # only the process that is looked at serves

    stacks: Counter[tuple[str, ...]] = Counter()

    def look(_signal: int, frame: FrameType | None) -> None:
        names = []
        while frame is not None:
            names.append(f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_qualname}")
            frame = frame.f_back
        stacks[tuple(reversed(names))] += 1

    signal.signal(signal.SIGPROF, look)
    # Start and first calls are not part of the picture.
    signal.signal(signal.SIGUSR1, lambda *_: signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL))
    run(Path(file), {})
    signal.setitimer(signal.ITIMER_PROF, 0)
    Path(out).write_text("".join(f"{';'.join(stack)} {n}\n" for stack, n in stacks.items()), encoding="utf-8")


@dataclass(slots=True)
class Node:
    """A function in its place in the stacks: how many samples it was in, and what it called."""

    samples: int = 0
    called: "dict[str, Node]" = field(default_factory=dict)


def tree(folded: str) -> Node:
    """Read stacks, each with its count at the end of the line; what all have in common at the bottom is left out."""
    root = Node()
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        node, samples = root, int(count)
        node.samples += samples
        for name in stack.split(";"):
            node = node.called.setdefault(name, Node())
            node.samples += samples
    while len(root.called) == 1 and (only := next(iter(root.called.values()))).samples == root.samples:
        root = only
    return root


def svg(root: Node) -> str:
    """Draw the tree from the bottom up."""
    boxes = list(_boxes(root, 0.0, 0))
    depth = 1 + max(level for level, *_ in boxes)
    height = depth * HEIGHT + 30
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="monospace" font-size="11">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n'
        f'<text x="6" y="16">CPU time of warm resource_get calls: {root.samples:,} samples</text>\n'
    )
    return head + "".join(_drawn(*box, root.samples, height) for box in boxes) + "</svg>\n"


def _boxes(node: Node, at: float, level: int) -> Iterator[tuple[int, float, str, int]]:
    """Yield each function's level, its place among all samples, its name and its samples."""
    for name, inner in sorted(node.called.items()):
        yield level, at, name, inner.samples
        yield from _boxes(inner, at, level + 1)
        at += inner.samples


def _drawn(level: int, at: float, name: str, samples: int, whole: int, height: int) -> str:  # noqa: PLR0917  # one box
    if samples < LEAST * whole:
        return ""
    left, width = at / whole * WIDTH, samples / whole * WIDTH
    top = height - (level + 1) * HEIGHT
    module, _, function = name.partition(":")
    colour = COLOURS.get(module.partition(".")[0], COLOURS[""])
    shown = escape(function.replace(".<locals>", "")[: int(width / 6.8)]) if width > 20 else ""
    return (
        f"<g><title>{escape(name)}: {samples / whole:.1%}</title>"
        f'<rect x="{left:.1f}" y="{top}" width="{width - 0.5:.1f}" height="{HEIGHT - 1}" fill="{colour}"/>'
        f'<text x="{left + 2:.1f}" y="{top + 12}">{shown}</text></g>\n'
    )


def shares(root: Node) -> Mapping[str, float]:
    """Return which part of all samples was met in each package's own code: the innermost function decides."""
    own: Counter[str] = Counter()

    def walk(name: str, node: Node) -> None:
        own[name.partition(":")[0].partition(".")[0]] += node.samples - sum(n.samples for n in node.called.values())
        for inner, called in node.called.items():
            walk(inner, called)

    walk("asyncio", root)
    return {name: samples / root.samples for name, samples in own.most_common()}


def main() -> None:
    """Start an API server and the gateway, call it, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="length of the load (10)")
    seconds = parser.parse_args().seconds
    with ExitStack() as stack:
        cluster = stack.enter_context(RealCluster("bench-flame", controllers=False))
        folder = Path(stack.enter_context(TemporaryDirectory()))
        token = asyncio.run(prepared(cluster))
        out = folder / "stacks"
        program = ("-c", f"from tests.bench.flame import sampled; import sys; sampled(sys.argv[1], {str(out)!r})")
        with processes.gateway(folder, [listed(cluster)], program=program) as served:
            target = Target(
                "gateway", f"http://127.0.0.1:{served.port}/mcp", token, "resource_get", ARGUMENTS, served.pid
            )
            asyncio.run(measure(target, MODERN, connections=8, seconds=1))
            os.kill(served.pid, signal.SIGUSR1)
            asyncio.run(measure(target, MODERN, connections=8, seconds=seconds))
        root = tree(out.read_text(encoding="utf-8"))
    DRAWING.write_text(svg(root), encoding="utf-8")
    rows = [(name, f"{share:.1%}") for name, share in shares(root).items() if share >= SMALLEST]
    result = Result("flame", [Table("Whose code it was, by package", ("package", "share of the samples"), rows)], {})
    document(PAGE, [result])
    sys.stdout.write(markdown(result))


if __name__ == "__main__":
    main()
