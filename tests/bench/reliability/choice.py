"""What a person chose to have measured, and which core does what."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Choice:
    """Seconds of one load, how often it takes turns, minutes of the long crowd, and how many of what is dropped."""

    seconds: float = 15.0
    rounds: int = 3
    minutes: float = 10.0
    sessions: int = 10_000
    calls: int = 1000
    clusters: int = 200
    principals: int = 500


def on_cores(gateway: int, *others: int) -> None:
    """Give the gateway a core of its own, where there are two; clusters and load share the rest."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) > 1:
        os.sched_setaffinity(gateway, cores[:1])
        for pid in (os.getpid(), *others):
            os.sched_setaffinity(pid, cores[1:])
