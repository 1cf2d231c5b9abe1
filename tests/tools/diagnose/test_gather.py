import asyncio
import time

import pytest

from gateway.demo import EmbeddedCluster
from gateway.demo.faults import Hang, server_error
from gateway.demo.world import furnish
from gateway.errors import GatewayError
from gateway.tools.diagnose.facts import DEPLOYMENTS, NAMESPACES, Ref
from gateway.tools.diagnose.gather import FOR_AN_OBJECT, FOR_MANY, gather
from gateway.tools.diagnose.tool import DiagnoseArguments, diagnose
from tests.workbench import Workbench

CHECKOUT = Ref(DEPLOYMENTS, "shop", "checkout")
SHOP = Ref(NAMESPACES, "", "shop")


@pytest.fixture
async def east(cluster: EmbeddedCluster, bench: Workbench) -> Workbench:
    """Give the shop's broken cluster `east`."""
    furnish(cluster, "east")
    await cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: demo}}")
    return bench


async def test_the_time_that_ran_out_leaves_what_was_read(east: Workbench) -> None:
    """Lists that never come cost the time that was given, and what came before is judged."""
    with east.cluster.fault(Hang(), paths=["*/pods", "*/events"]):
        async with east.session() as session:
            await session.catalog()
            started = time.perf_counter()
            gathered = await gather(session, CHECKOUT, seconds=0.4)
    assert time.perf_counter() - started < 2
    assert gathered.late
    assert CHECKOUT in gathered.facts.objects


async def test_a_cluster_that_says_nothing_is_said_to(east: Workbench) -> None:
    """Without any answer nothing is judged: the failure says so."""
    with east.cluster.fault(Hang(), paths=["*/namespaces/*"]):
        async with east.session() as session:
            await session.catalog()
            with pytest.raises(GatewayError, match="did not answer within"):
                await gather(session, CHECKOUT, seconds=0.3)


async def test_a_list_that_fails_is_told_and_the_rest_judged(east: Workbench) -> None:
    """A fault of the API server on one kind leaves the findings about others."""
    with east.cluster.fault(server_error(), paths=["*/services"]):
        text = await east.call("diagnose", {"resource": "deploy", "name": "checkout", "namespace": "shop"})
    assert "PAYMENTS_URL" in text.splitlines()[0]
    assert "not read: services: " in text
    assert "etcdserver: request timed out" in text


async def test_it_ends_with_its_caller(east: Workbench) -> None:
    """A cancelled call leaves no task of its own behind."""
    with east.cluster.fault(Hang(), paths=["*/pods"]):
        async with east.session() as session:
            await session.catalog()
            before = asyncio.all_tasks()
            call = asyncio.ensure_future(
                diagnose(session, DiagnoseArguments(resource="deploy", name="checkout", namespace="shop"))
            )
            while not any(seen.path.endswith("/pods") for seen in east.cluster.requests):  # noqa: ASYNC110  # no event tells
                await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            left = [task for task in asyncio.all_tasks() - before if "gather" in repr(task.get_coro())]
    assert left == []


async def test_a_large_namespace_takes_no_more_requests(east: Workbench) -> None:
    """Hundreds of pods and services are read in pages of which only the first is asked for."""
    pods = "".join(
        f"""
---
apiVersion: v1
kind: Pod
metadata: {{name: extra-{index}, namespace: shop, labels: {{app: extra}}}}
spec: {{containers: [{{name: main, image: "example.org/main:1"}}]}}
"""
        for index in range(350)
    )
    await east.cluster.apply(pods)
    async with east.session() as session:
        gathered = await gather(session, SHOP)
    assert gathered.requests <= FOR_MANY
    assert ("pods", "shop") not in gathered.facts.complete
    async with east.session() as session:
        assert (await gather(session, CHECKOUT)).requests <= FOR_AN_OBJECT


async def test_trouble_beyond_the_first_page_of_pods_is_found(east: Workbench) -> None:
    """In a large cluster the pods that events speak of are read by name, and that lists were cut is said."""
    await east.cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: a-crowd}}")
    crowd = "---".join(
        f"""
apiVersion: v1
kind: Pod
metadata: {{name: extra-{index}, namespace: a-crowd}}
spec: {{nodeName: east-1, containers: [{{name: main, image: "example.org/main:1"}}]}}
"""
        for index in range(310)
    )
    await east.cluster.apply(crowd)
    text = await east.call("diagnose", {"detail": True})
    assert "PAYMENTS_URL" in text
    assert "only the first 300 were read" in text
    assert len(east.sent()) <= FOR_MANY


async def test_what_looks_like_a_password_is_masked(east: Workbench) -> None:
    """A log line that carries credentials is quoted without them."""
    east.cluster.logs.write(
        "shop",
        await _pod_of(east, "checkout"),
        "checkout",
        "FATAL cannot connect to postgres://shop:hunter2@orders-db:5432/shop?password=hunter2\n",
        previous=True,
    )
    text = await east.call("diagnose", {"resource": "deploy", "name": "checkout", "namespace": "shop"})
    assert "orders-db" in text
    assert "hunter2" not in text


async def _pod_of(bench: Workbench, name: str) -> str:
    listed = await bench.call("resource_list", {"resource": "pods", "namespace": "shop", "output": "name"})
    names = (line.rpartition("/")[2] for line in listed.splitlines())
    return next(pod for pod in names if pod.startswith(f"{name}-"))
