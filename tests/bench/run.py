"""The benchmark: the gateway beside the floor, on one real API server, in one run.

`python -m tests.bench.run [--seconds S] [--rounds N] [--output json]` starts everything it needs and ends it. Rounds
alternate, so that a machine whose speed drifts slows both alike; what counts is the ratio.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

from tests.bench.load import GENERATIONS, Figures, Target, measure
from tests.cluster.cluster import RealCluster

CONFIG_MAP = f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: two-kilobytes, namespace: demo}}
data: {{text: "{"kubernetes " * 160}"}}
"""
CONNECTIONS = (1, 8)


def main() -> None:
    """Measure and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3, help="length of one load")
    parser.add_argument("--rounds", type=int, default=3, help="loads of each server, taken in turns")
    parser.add_argument("--output", choices=["table", "json"], default="table")
    options = parser.parse_args()
    with ExitStack() as stack:
        cluster = stack.enter_context(RealCluster("bench", controllers=False))
        folder = Path(stack.enter_context(TemporaryDirectory()))
        token = asyncio.run(_prepared(cluster))
        floor = stack.enter_context(_floor(cluster, token))
        gateway = stack.enter_context(_gateway(cluster, token, folder))
        results = asyncio.run(_measured((floor, gateway), options.seconds, options.rounds))
    sys.stdout.write(json.dumps(results, indent=2) + "\n" if options.output == "json" else _table(results))


async def _prepared(cluster: RealCluster) -> str:
    await cluster.apply(CONFIG_MAP)
    return await cluster.token()


async def _measured(targets: tuple[Target, Target], seconds: float, rounds: int) -> list[dict[str, object]]:
    results: list[dict[str, object]] = []
    for generation in GENERATIONS:
        for connections in CONNECTIONS:
            figures: dict[str, list[Figures]] = {target.name: [] for target in targets}
            for _ in range(rounds):
                for target in targets:
                    sys.stderr.write(f"\r{generation}, {connections} connections, {target.name}     ")
                    figures[target.name].append(
                        await measure(target, generation, connections=connections, seconds=seconds)
                    )
            medians = {
                name: Figures(
                    statistics.median(f.calls_per_second for f in seen),
                    statistics.median(f.p50 for f in seen),
                    statistics.median(f.p99 for f in seen),
                    statistics.median(f.cpu for f in seen),
                )
                for name, seen in figures.items()
            }
            floor, gateway = medians["floor"], medians["gateway"]
            ratios = [
                g.calls_per_second / f.calls_per_second
                for f, g in zip(figures["floor"], figures["gateway"], strict=True)
            ]
            results.append(
                {
                    "generation": generation,
                    "connections": connections,
                    "floor": asdict(floor),
                    "gateway": asdict(gateway),
                    "calls_ratio": gateway.calls_per_second / floor.calls_per_second,
                    "calls_ratio_spread": [min(ratios), max(ratios)],
                    "p50_ratio": gateway.p50 / floor.p50,
                    "cpu_ratio": gateway.cpu / floor.cpu,
                }
            )
    sys.stderr.write("\r" + " " * 60 + "\r")
    return results


def _table(results: list[dict[str, object]]) -> str:
    lines = [
        "| protocol | connections | floor, gateway calls/s | ratio (spread) | p50 ms | CPU µs a call | ratio |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in results:
        floor, gateway, spread = row["floor"], row["gateway"], row["calls_ratio_spread"]
        assert isinstance(floor, dict)
        assert isinstance(gateway, dict)
        assert isinstance(spread, list)
        lines.append(
            f"| {row['generation']} | {row['connections']} | {floor['calls_per_second']:,.0f}, "
            f"{gateway['calls_per_second']:,.0f} | {row['calls_ratio']:.2f} ({spread[0]:.2f}-{spread[1]:.2f}) "
            f"| {floor['p50']:.2f}, {gateway['p50']:.2f} "
            f"| {floor['cpu']:.0f}, {gateway['cpu']:.0f} | {row['cpu_ratio']:.2f} |"
        )
    return "\n".join(lines) + "\n"


@contextmanager
def _floor(cluster: RealCluster, token: str) -> Iterator[Target]:
    port = _free_port()
    path = "/api/v1/namespaces/demo/configmaps/two-kilobytes"
    command = ["-m", "tests.bench.floor", str(port), cluster.server, str(cluster.ca_file), path]
    with _process(command, {"FLOOR_TOKEN": token}, f"http://127.0.0.1:{port}/mcp") as pid:
        yield Target("floor", "127.0.0.1", port, "/mcp", token, "resource_get", {"resource": "x", "name": "y"}, pid)


@contextmanager
def _gateway(cluster: RealCluster, token: str, folder: Path) -> Iterator[Target]:
    port, admin = _free_port(), _free_port()
    settings = folder / "gateway.yaml"
    settings.write_text(
        json.dumps(
            {
                "listen": {"port": port},
                "admin": {"port": admin},
                "clusters": [
                    {
                        "name": "bench",
                        "server": cluster.server,
                        "certificateAuthority": str(cluster.ca_file),
                        "limits": {"readsPerMinute": 1_000_000},  # counted, but never reached
                    }
                ],
            }
        )
    )
    command = ["-c", "from gateway.cli import main; main()", "serve", "--config", str(settings)]
    arguments = {"resource": "configmaps", "name": "two-kilobytes", "namespace": "demo"}
    with _process(command, {}, f"http://127.0.0.1:{admin}/readyz") as pid:
        yield Target("gateway", "127.0.0.1", port, "/mcp", token, "resource_get", arguments, pid)


@contextmanager
def _process(command: list[str], environment: dict[str, str], answers_at: str) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, *command],
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(200):
            try:
                with urlopen(answers_at, timeout=1):
                    break
            except OSError as error:
                if getattr(error, "code", 503) != 503 or process.poll() is not None:
                    break
                _pause()
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def _pause() -> None:
    asyncio.run(asyncio.sleep(0.1))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
