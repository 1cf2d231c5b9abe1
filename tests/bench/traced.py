"""Boundary to callgrind: how many instructions a warm call takes with traces off, of every call, and of none.

The sampler's word for a part of the calls is chance, so that is not counted: it lies between the two others.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from gateway.cli.serve import loop_factory
from tests.bench import processes
from tests.bench.embedded import Reached
from tests.bench.inprocess import gateway
from tests.bench.instructions import control, under_callgrind
from tests.bench.load import MODERN
from tests.ports import free_port, wait_for_port

SETTINGS: Final[dict[str, dict[str, str] | None]] = {
    "off": None,
    "every": {},
    "none": {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"},
}
CALLS: Final = 256
"""One batch: what the SDK sends at once by its defaults is 512 spans, two a call."""
WARM: Final = 20
"""Calls that `gateway` has made before."""
_COLLECTOR: Final = """
import http.server, sys
class Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
        with open(sys.argv[2], "ab") as taken:
            taken.write(b".")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Sink).serve_forever()
"""


def traced(cluster: Reached, folder: Path) -> dict[str, float]:
    """Return the instructions of one warm call by SETTINGS' names, the exporter's thread included.

    Raises:
        RuntimeError: They could not be counted.
    """
    taken, port = folder / "taken", free_port()
    taken.touch()
    with processes.serving(["-c", _COLLECTOR, str(port), str(taken)], {}):
        wait_for_port(port)
        told = {"cluster": asdict(cluster), "port": port, "taken": str(taken)}
        found = under_callgrind(["tests.bench.traced"], told, folder / "callgrind.traced")
    return {name: total / CALLS for name, total in found.items()}


async def _inside(cluster: Reached, port: int, taken: Path) -> list[str]:
    """Make the calls, under callgrind, and return what each of its dumps is of."""
    # So that batches go out when they are full, and at no other time.
    sending = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_SCHEDULE_DELAY": "3600000"}
    for name, setting in SETTINGS.items():
        environment = {} if setting is None else sending | setting
        with TemporaryDirectory() as folder, _environment(environment):
            async with gateway(Path(folder), cluster, MODERN) as app:
                for calls in (CALLS - WARM, CALLS):
                    control("--instr=on")
                    control("--zero")
                    batches = _size(taken) + 1
                    for _ in range(calls):
                        await app.call()
                    while name == "every" and _size(taken) < batches:  # noqa: ASYNC110  # another process tells
                        await asyncio.sleep(0.5)
                control("--dump=" + name)
                control("--instr=off")
    return list(SETTINGS)


def _size(file: Path) -> int:
    return file.stat().st_size


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set these for what is made in the block."""
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


def main() -> None:
    """Make the calls, inside callgrind."""
    told = json.load(sys.stdin)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        order = runner.run(_inside(Reached(**told["cluster"]), told["port"], Path(told["taken"])))
    json.dump(order, sys.stdout)


if __name__ == "__main__":
    main()
