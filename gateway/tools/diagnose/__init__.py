"""Boundary of diagnosis: reading a cluster (`gather`), judging it (families of rules), telling it (`report`)."""

from gateway.tools.diagnose.tool import TOOL

__all__ = ["TOOL"]
