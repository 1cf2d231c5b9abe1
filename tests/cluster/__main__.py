"""Boundary to the contributor's shell: `python -m tests.cluster build` and `python -m tests.cluster up NAME`."""

import argparse
import asyncio
import signal
import sys

from . import programs
from .cluster import RealCluster
from .node import RealNodeCluster


def main() -> None:
    """Build the programs, or run one cluster until it is interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description="Real Kubernetes clusters for tests")
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="build the programs into the cache")
    build.add_argument("--node", action="store_true", help="those of a node too")
    up = commands.add_parser("up", help="run a cluster in the foreground, until Ctrl-C")
    up.add_argument("name", help="its name, such as east")
    kind = up.add_mutually_exclusive_group()
    kind.add_argument("--no-controllers", action="store_true", help="only etcd and the API server")
    kind.add_argument("--node", action="store_true", help="with a node that runs containers (Linux, root)")
    arguments = parser.parse_args()
    if arguments.command == "build":
        programs.find(*programs.API_SERVER, *programs.CONTROLLERS, *(programs.NODE if arguments.node else ()))
        sys.stdout.write(f"{programs.cache_directory()}\n")
        return
    if arguments.node:
        _run(RealNodeCluster(arguments.name))
    else:
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
                **({"kubectl": cluster.programs["kubectl"]} if "kubectl" in cluster.programs else {}),
                "token": asyncio.run(cluster.token(seconds=48 * 3600)),
            }
            sys.stdout.write("".join(f"{name}: {value}\n" for name, value in lines.items()))
            sys.stdout.flush()
            signal.pause()
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
