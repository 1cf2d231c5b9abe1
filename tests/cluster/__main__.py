"""Boundary to the contributor's shell: `python -m tests.cluster build` and `python -m tests.cluster up NAME`."""

import argparse
import asyncio
import signal
import sys

from . import programs
from .cluster import RealCluster


def main() -> None:
    """Build the programs, or run one cluster until it is interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description="Real Kubernetes clusters for tests")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build the programs into the cache")
    up = commands.add_parser("up", help="run a cluster in the foreground, until Ctrl-C")
    up.add_argument("name", help="its name, such as east")
    up.add_argument("--no-controllers", action="store_true", help="only etcd and the API server")
    arguments = parser.parse_args()
    if arguments.command == "build":
        programs.find(*programs.API_SERVER, *programs.CONTROLLERS)
        sys.stdout.write(f"{programs.cache_directory()}\n")
        return
    _run(RealCluster(arguments.name, controllers=not arguments.no_controllers))


def _run(cluster: RealCluster) -> None:
    # As Ctrl-C, so that whoever ends it politely leaves nothing behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with cluster:
            lines = {
                "server": cluster.server,
                "ca": cluster.ca_file,
                "kubeconfig": cluster.kubeconfig,
                "token": asyncio.run(cluster.token(seconds=48 * 3600)),
            }
            sys.stdout.write("".join(f"{name}: {value}\n" for name, value in lines.items()))
            sys.stdout.flush()
            signal.pause()
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
