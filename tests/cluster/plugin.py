"""Boundary to pytest: the real clusters as fixtures, each started once by the first test that asks for it.

With pytest-xdist each worker has its own clusters, so that tests that count an API server's requests are not disturbed.
"""

import os
from collections.abc import Iterator
from typing import NoReturn, TypeVar

import pytest

from . import programs
from .cluster import RealCluster
from .node import RealNodeCluster, missing

AnyCluster = TypeVar("AnyCluster", bound=RealCluster)

NEEDS = {
    "real_cluster": (*programs.API_SERVER, *programs.CONTROLLERS),
    "real_clusters": (*programs.API_SERVER, *programs.CONTROLLERS),
    "real_node": (*programs.API_SERVER, *programs.CONTROLLERS, *programs.NODE),
    "fresh_cluster": programs.API_SERVER,
    "api_server_programs": programs.API_SERVER,
}


@pytest.fixture(scope="session")
def real_cluster() -> Iterator[RealCluster]:
    """A control plane, `east`. From KUBEBUILDER_ASSETS alone, without Go, it has no controllers: see its attribute."""
    yield from _running(RealCluster("east", controllers=programs.available(*programs.CONTROLLERS)))


@pytest.fixture(scope="session")
def real_clusters(real_cluster: RealCluster) -> Iterator[tuple[RealCluster, RealCluster]]:
    """Two control planes, `east` (`real_cluster`) and `west`, with different CAs and keys and one issuer string."""
    for west in _running(RealCluster("west", controllers=real_cluster.controllers)):
        yield real_cluster, west


@pytest.fixture
def fresh_cluster() -> Iterator[RealCluster]:
    """A control plane without controllers for one test alone: to be killed, or to get other keys."""
    yield from _running(RealCluster("fresh", controllers=False))


@pytest.fixture(scope="session")
def real_node() -> Iterator[RealNodeCluster]:
    """A control plane, `north`, with one node that really runs containers; for tests marked `slow`."""
    yield from _running(RealNodeCluster("north"))


@pytest.fixture(scope="session")
def api_server_programs() -> None:
    """Have what an API server needs, for a test that starts one by itself."""
    try:
        programs.find(*programs.API_SERVER)
    except programs.ProgramsMissingError as error:
        unavailable(str(error))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what the chosen tests need before the first of them runs: a build takes longer than a test may."""
    asked: set[str] = {fixture for item in session.items for fixture in getattr(item, "fixturenames", ())}
    if missing():
        asked.discard("real_node")
    names = dict.fromkeys(name for fixture, needed in NEEDS.items() if fixture in asked for name in needed)
    if session.config.option.collectonly or not names or not programs.available(*names):
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        programs.find(*names)


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail it where REQUIRE_REAL_CLUSTERS says that such a skip is a failure."""
    if os.environ.get("REQUIRE_REAL_CLUSTERS") == "1":
        pytest.fail(f"REQUIRE_REAL_CLUSTERS is set, but: {reason}", pytrace=False)
    pytest.skip(reason)


def _running(cluster: AnyCluster) -> Iterator[AnyCluster]:
    try:
        cluster.up()
    except programs.ProgramsMissingError as error:
        unavailable(str(error))
    yield cluster
    cluster.down()
