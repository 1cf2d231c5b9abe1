"""Ten thousand inputs to the boundaries that `make fuzz` gives a million, without its guidance by coverage."""

import importlib.util
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attacks.fuzz import run_target
from tests.attacks.fuzz_targets import TARGETS, bounded

INPUTS = 900


@st.composite
def mutated(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """Draw an input: a seed with parts cut out, doubled, exchanged or put in, or bytes of no kin to one."""
    text = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        at, to = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        put = draw(st.one_of(st.binary(max_size=8), st.sampled_from(seeds), st.just(bytes(text[at:to]) * 2)))
        text[at : at + (to - at if draw(st.booleans()) else 0)] = put
    return bytes(text[:4096])


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_a_boundary_holds(name: str) -> None:
    """Nothing forged is accepted, nothing undocumented is raised, nothing takes long."""
    target = TARGETS[name]()
    run = bounded(target)

    @settings(max_examples=INPUTS, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(data=st.one_of(mutated(target.seeds), st.binary(max_size=300)))
    def holds(data: bytes) -> None:
        run(data)

    holds()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is for Linux on x86-64")
def test_inputs_are_guided_by_coverage(tmp_path: Path) -> None:
    """The long run's own machinery works: it counts its inputs, and they reach the code."""
    figures = run_target("URL", 3000, random.Random().randrange(2**31), tmp_path)  # noqa: S311  # any seed will do
    assert figures.inputs >= 3000
    assert figures.edges > 20
    assert figures.found == 0
