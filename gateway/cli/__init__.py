"""Boundary between a person's command line and the gateway."""

from gateway.cli.commands import main

__all__ = ["main"]
