"""Boundary between the parts that know whether the gateway can serve and the probe that asks."""

from dataclasses import dataclass


@dataclass(slots=True)
class Readiness:
    """Whether calls should be sent here.

    `ready` from when everything is open, `draining` from when the process was told to end.
    """

    ready: bool = False
    draining: bool = False

    @property
    def word(self) -> str:
        """Say the state in one word: `starting`, `ready` or `draining`."""
        if self.draining:
            return "draining"
        return "ready" if self.ready else "starting"
