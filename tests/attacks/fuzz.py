"""Fuzz every boundary where bytes come in: `python -m tests.attacks.fuzz --runs 1000000` or `make fuzz`.

Coverage-guided (atheris), each target in a process of its own. Prints a table, and with `--json` writes the figures;
`--document` writes the table between the markers of docs/security.md. A failure leaves its input in `--crashes`.
"""

import argparse
import importlib
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"
MARKERS = ("<!-- fuzzing: begin, written by `make fuzz` -->", "<!-- fuzzing: end -->")
LONGEST = 4096
"""Bytes of the longest input."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one target went through; `edges` are the parts of the code that its inputs reached."""

    target: str
    inputs: int
    seconds: float
    per_second: float
    edges: int
    found: int


def fuzz(name: str, runs: int, seed: int, corpus: Path) -> None:
    """Fuzz one target in this process, which ends here: exit code 0 where nothing was found."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["gateway"]):
        targets = importlib.import_module("tests.attacks.fuzz_targets")
    target = targets.TARGETS[name]()
    for number, content in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(content)
    options = [f"-runs={runs}", f"-seed={seed}", f"-max_len={LONGEST}", "-timeout=20", "-rss_limit_mb=2048"]
    atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", f"-artifact_prefix={corpus}/found-", str(corpus)],
                  targets.bounded(target))  # fmt: skip
    atheris.Fuzz()


def run_target(name: str, runs: int, seed: int, crashes: Path) -> Figures:
    """Fuzz one target in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.attacks.fuzz", "--one", name, "--runs", str(runs)]
        began = time.monotonic()
        done = subprocess.run(
            [*command, "--seed", str(seed), "--corpus", folder], capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - began
        found = [*Path(folder).glob("found-*")]
        for one in found:
            crashes.mkdir(parents=True, exist_ok=True)
            (crashes / f"{name.replace(' ', '-')}-{one.name}").write_bytes(one.read_bytes())
    inputs = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    edges = re.findall(r"cov: (\d+)", done.stderr)
    if done.returncode or inputs is None:
        print(done.stdout[-4000:], done.stderr[-4000:], file=sys.stderr)
        found = found or [Path("ended")]
    count = int(inputs[1]) if inputs else 0
    return Figures(name, count, round(seconds, 1), round(count / seconds), int(edges[-1]) if edges else 0, len(found))


def table(figures: list[Figures], seed: int) -> str:
    """Return the figures as a page shows them."""
    lines = ["| target | inputs | seconds | inputs/s | edges reached | found |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {one.target} | {one.inputs:,} | {one.seconds:,} | {one.per_second:,} | {one.edges:,} | {one.found} |"
        for one in figures
    ]
    inputs, seconds = sum(one.inputs for one in figures), sum(one.seconds for one in figures)
    lines.append(f"| **all** | **{inputs:,}** | **{seconds:,.0f}** | | | **{sum(one.found for one in figures)}** |")
    made = datetime.now(UTC).strftime("%Y-%m-%d")
    lines += ["", f"Made on {made} by `make fuzz` with seed {seed}, Python {sys.version.split()[0]}."]
    return "\n".join(lines)


def document(text: str) -> None:
    """Write the table between the page's markers."""
    page = DOCUMENT.read_text()
    begin, rest = page.split(MARKERS[0], 1)
    _, end = rest.split(MARKERS[1], 1)
    DOCUMENT.write_text(f"{begin}{MARKERS[0]}\n\n{text}\n\n{MARKERS[1]}{end}")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--document", action="store_true", help="write the table into docs/security.md")
    parser.add_argument("--crashes", type=Path, default=Path("build/fuzz"), help="where failing inputs are kept")
    parser.add_argument("--target", action="append", help="only this one; may be repeated")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        fuzz(given.one, given.runs, given.seed, given.corpus)
        return
    names = given.target or list(importlib.import_module("tests.attacks.fuzz_targets").TARGETS)
    figures = []
    for name in names:
        figures.append(run_target(name, -(-given.runs // len(names)), given.seed, given.crashes))
        print(json.dumps(asdict(figures[-1])), flush=True)
    text = table(figures, given.seed)
    print(text)
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in figures], indent=2))
    if given.document:
        document(text)
    sys.exit(any(one.found for one in figures))


if __name__ == "__main__":
    main()
