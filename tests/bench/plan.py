"""What a person chose to have measured, as every part gets it."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.load import Target


@dataclass(frozen=True, slots=True)
class Plan:
    """Seconds of one load, how often the loads of each server take turns, and other endpoints to put beside them."""

    seconds: float = 3.0
    rounds: int = 3
    against: Sequence[Target] = ()
