"""Boundary between a person's command line and the gateway."""

import sys


def main() -> None:
    """Run the command line of this process, and end with status 130 if Ctrl-C is pressed while it is still loading."""
    try:
        from gateway.cli.commands import main as run  # noqa: PLC0415  # what takes long is inside the try

        run()
    except KeyboardInterrupt:
        sys.exit(130)


__all__ = ["main"]
