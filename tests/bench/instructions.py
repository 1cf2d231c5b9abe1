"""Boundary to callgrind: how many instructions a warm call takes, floor's and gateway's, which no busy machine changes.

`python -m tests.bench.instructions [--profile FOLDER]` needs valgrind; with `--profile` what callgrind wrote is kept
there, for callgrind_annotate.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Final

from gateway.cli.serve import loop_factory
from tests.bench.embedded import Reached, World, embedded
from tests.bench.inprocess import both
from tests.bench.load import GENERATIONS

CALLS: Final = 50
_PATIENCE: Final = 600
_TOTAL: Final = re.compile(r"^totals: (\d+)$", re.MULTILINE)


def available() -> bool:
    """Whether this machine can count."""
    return which("valgrind") is not None and which("callgrind_control") is not None


def instructions(cluster: Reached, generation: str, folder: Path) -> dict[str, float]:
    """Return the instructions of one warm call of floor and gateway; what callgrind writes goes into the folder.

    Raises:
        RuntimeError: They could not be counted.
    """
    command = ("tests.bench.instructions", "--inside", generation)
    found = under_callgrind(command, asdict(cluster), folder / f"callgrind.{generation}")
    return {name: total / CALLS for name, total in found.items()}


def under_callgrind(command: Sequence[str], told: object, out: Path) -> dict[str, int]:
    """Run a module of ours, which reads what it is told as JSON, and return the instructions of each of its dumps.

    Collecting begins when it says so (`control`), because importing would take minutes. It writes its dumps' names.

    Raises:
        RuntimeError: They could not be counted.
    """
    valgrind = ("valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}")
    ended = subprocess.run(
        (*valgrind, sys.executable, "-m", *command),
        check=False,
        input=json.dumps(told),
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    if ended.returncode:
        raise RuntimeError(f"callgrind: {ended.stderr.strip()[-2000:]}")
    order: list[str] = json.loads(ended.stdout)
    return {
        name: int(_TOTAL.search(Path(f"{out}.{number}").read_text(encoding="utf-8"))[1])  # type: ignore[index]
        for number, name in enumerate(order, start=1)
    }


async def _inside(generation: str, cluster: Reached) -> list[str]:
    """Make the calls, under callgrind, and return whose each of its dumps is."""
    with TemporaryDirectory() as folder:
        async with both(Path(folder), cluster, generation) as apps:
            for app in apps:
                control("--instr=on")
                for _ in range(3):
                    await app.call()
                control("--zero")
                for _ in range(CALLS):
                    await app.call()
                control("--dump=" + app.name)
                control("--instr=off")
            return [app.name for app in apps]


def control(word: str) -> None:
    """Have callgrind, in which this runs, begin, dump, or end."""
    subprocess.run(["callgrind_control", word, str(os.getpid())], check=True, stdout=subprocess.DEVNULL, timeout=60)


def main() -> None:
    """Count and show; or, inside callgrind, make the calls."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", type=Path, metavar="FOLDER", help="keep what callgrind wrote there")
    parser.add_argument("--inside", choices=GENERATIONS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        cluster = Reached(**json.load(sys.stdin))
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            json.dump(runner.run(_inside(options.inside, cluster)), sys.stdout)
        return
    with embedded(World()) as world, TemporaryDirectory() as temporary:
        for generation in GENERATIONS:
            found = instructions(world.clusters[0], generation, options.profile or Path(temporary))
            ratio = found["gateway"] / found["floor"]
            sys.stdout.write(
                f"{generation}: floor {found['floor']:,.0f}, gateway {found['gateway']:,.0f} instructions a call, "
                f"{ratio:.3f} of the floor\n"
            )


if __name__ == "__main__":
    main()
