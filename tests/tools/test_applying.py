from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from gateway.access.session import ClusterSession
from gateway.kube.errors import Conflict
from gateway.policy.options import PolicyOptions
from gateway.tools.applying import Preview, preview, write
from gateway.tools.manifests import parse_manifest
from gateway.tools.targets import targets_of
from tests.workbench import MakeWorkbench, Workbench

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
PATH = "/apis/apps/v1/namespaces/demo/deployments/web"
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "demo"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}},
    },
}


@pytest.fixture
async def bench(workbench: MakeWorkbench) -> Workbench:
    """Give a workbench that may apply, with a deployment."""
    bench = await workbench(PolicyOptions(writes=frozenset({"apply"})))
    await _patch(bench, PATH, DEPLOYMENT, APPLY)
    return bench


@pytest.fixture
async def session(bench: Workbench) -> AsyncIterator[ClusterSession]:
    """Give one session."""
    async with bench.session() as session:
        yield session


async def _patch(bench: Workbench, path: str, body: Mapping[str, Any], content_type: str = MERGE) -> None:
    params = {"fieldManager": "kube-mcp-gateway"} if content_type == APPLY else None
    status, answer = await bench.cluster.request("PATCH", path, body, content_type=content_type, params=params)
    assert status in {200, 201}, answer


async def _tried(session: ClusterSession, **spec: Any) -> Preview:
    documents = parse_manifest({**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], **spec}})
    targets, _ = await targets_of(session, documents, None)
    (tried,) = await preview(session, targets, force=False)
    assert tried.error is None
    return tried


async def test_what_was_tried_is_written(session: ClusterSession) -> None:
    """Nothing changed meanwhile: the write goes through and is told apart from a creation."""
    assert await write(session, await _tried(session, replicas=3), force=False) == "changed"


async def test_a_status_alone_does_not_stop_a_write(bench: Workbench, session: ClusterSession) -> None:
    """A status that moved on gives the object a new resourceVersion, but changes nothing that was shown."""
    tried = await _tried(session, replicas=3)
    await _patch(bench, f"{PATH}/status", {"status": {"observedGeneration": 7}})
    assert await write(session, tried, force=False) == "changed"


async def test_another_change_stops_a_write(bench: Workbench, session: ClusterSession) -> None:
    """What somebody else changed after the difference was made is not written over."""
    tried = await _tried(session, replicas=3)
    await _patch(bench, PATH, {"metadata": {"labels": {"new": "label"}}})
    with pytest.raises(Conflict):
        await write(session, tried, force=False)


async def test_a_deleted_object_is_not_made_again(bench: Workbench, session: ClusterSession) -> None:
    """A change that was shown as one must not become a creation."""
    tried = await _tried(session, replicas=3)
    await bench.cluster.request("DELETE", PATH)
    with pytest.raises(Conflict):
        await write(session, tried, force=False)
    assert (await bench.cluster.request("GET", PATH))[0] == 404


async def test_a_namesake_is_not_changed(bench: Workbench, session: ClusterSession) -> None:
    """A new object that took the name is another one, even if it looks the same."""
    tried = await _tried(session, replicas=3)
    await bench.cluster.request("DELETE", PATH)
    await _patch(bench, PATH, DEPLOYMENT, APPLY)
    with pytest.raises(Conflict):
        await write(session, tried, force=False)


async def test_the_word_holds_for_object_and_content(bench: Workbench, session: ClusterSession) -> None:
    """What a person or a plan confirms changes with the object's uid and fields, and not with its status."""
    met = (await _tried(session, replicas=3)).met
    await _patch(bench, f"{PATH}/status", {"status": {"observedGeneration": 8}})
    assert (await _tried(session, replicas=3)).met == met
    await _patch(bench, PATH, {"metadata": {"labels": {"new": "label"}}})
    assert (await _tried(session, replicas=3)).met != met
