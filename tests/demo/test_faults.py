import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

import aiohttp
import orjson
import pytest

from gateway.demo import EmbeddedCluster, faults
from tests.demo.conftest import trusting

Url = Callable[[str], str]


@contextlib.contextmanager
def _hangs() -> Iterator[None]:
    """Expect that nothing comes within a quarter of a second."""
    with pytest.raises(TimeoutError):
        yield


async def _get(client: aiohttp.ClientSession, url: str) -> tuple[int, bytes]:
    async with asyncio.timeout(5), client.get(url, allow_redirects=False) as answer:
        return answer.status, await answer.read()


async def test_a_refusing_cluster_refuses_and_comes_back(
    cluster: EmbeddedCluster, client: aiohttp.ClientSession, url: Url
) -> None:
    """Refuse cuts open connections and refuses new ones on a port that stays the cluster's own."""
    assert (await _get(client, url("/version")))[0] == 200
    refused = pytest.raises(aiohttp.ClientConnectorError, match="Connect call failed")
    with cluster.fault(faults.Refuse()), refused:
        await _get(client, url("/version"))
    assert (await _get(client, url("/version")))[0] == 200


@pytest.mark.parametrize("after", ["accept", "tls", "headers", "half"])
async def test_a_hanging_cluster_leaves_one_waiting(
    cluster: EmbeddedCluster, client: aiohttp.ClientSession, url: Url, after: str
) -> None:
    """Hang stops before the handshake, before the answer, before or within the body; afterwards all is well."""
    with cluster.fault(faults.Hang(after)) as active, _hangs():  # type: ignore[arg-type]
        async with asyncio.timeout(0.25):
            async with client.get(url("/version")) as answer:
                await answer.read()
    assert active.hits == 1
    assert (await _get(client, url("/version")))[0] == 200


async def test_latency_delays_an_answer(cluster: EmbeddedCluster, client: aiohttp.ClientSession, url: Url) -> None:
    """Latency comes before the answer, in seconds."""
    with cluster.fault(faults.Latency(0.2)):
        began = time.perf_counter()
        assert (await _get(client, url("/version")))[0] == 200
        assert time.perf_counter() - began >= 0.2


async def test_slow_bytes_come_slowly(cluster: EmbeddedCluster, client: aiohttp.ClientSession, url: Url) -> None:
    """Slow sends the body in pieces, the whole of it in the end."""
    whole = (await _get(client, url("/version")))[1]
    with cluster.fault(faults.Slow(len(whole) * 5)):
        async with client.get(url("/version")) as answer:
            chunks = [chunk async for chunk in answer.content.iter_any()]
    assert len(chunks) > 1
    assert b"".join(chunks) == whole


async def test_a_reset_ends_in_the_middle(cluster: EmbeddedCluster, client: aiohttp.ClientSession, url: Url) -> None:
    """Reset breaks the connection after so many bytes of a body, or before the status line."""
    with cluster.fault(faults.Reset(10)), pytest.raises(aiohttp.ClientPayloadError):
        await _get(client, url("/version"))
    with cluster.fault(faults.Reset(-1)), pytest.raises(aiohttp.ServerDisconnectedError):
        await _get(client, url("/version"))


async def test_replies_stand_in_for_answers(cluster: EmbeddedCluster, client: aiohttp.ClientSession, url: Url) -> None:
    """429 has Retry-After in plain text, 500 and 503 are Statuses, others are what they are told to be."""
    with cluster.fault(faults.too_many_requests(7)):
        async with client.get(url("/api/v1/pods")) as answer:
            assert (answer.status, answer.headers["Retry-After"], answer.content_type) == (429, "7", "text/plain")
    for status in (500, 503):
        with cluster.fault(faults.server_error(status)):
            code, body = await _get(client, url("/api/v1/pods"))
            assert (code, orjson.loads(body)["code"]) == (status, status)
    with cluster.fault(faults.not_json()):
        assert (await _get(client, url("/api/v1/pods"))) == (200, b"<!doctype html><title>Sign in</title>")
    with cluster.fault(faults.redirect("https://elsewhere.example/")):
        async with client.get(url("/api/v1/pods"), allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (307, "https://elsewhere.example/")
    with cluster.fault(faults.Truncate(20)):
        assert len((await _get(client, url("/version")))[1]) == 20


async def test_a_fault_can_be_limited(cluster: EmbeddedCluster, client: aiohttp.ClientSession, url: Url) -> None:
    """A fault strikes only the paths and verbs it is limited to, and only so often."""
    with cluster.fault(faults.server_error(503), paths=["/api/v1/*"], verbs=["list"], count=2) as active:
        paths = ["/version", "/api/v1/namespaces/demo", "/api/v1/pods", "/api/v1/namespaces", "/api/v1/pods"]
        codes = [(await _get(client, url(path)))[0] for path in paths]
    assert codes == [200, 200, 503, 503, 200]
    assert active.hits == 2


async def test_continue_tokens_can_expire(cluster: EmbeddedCluster, client: aiohttp.ClientSession, url: Url) -> None:
    """An expired continue token is 410 with another one, which goes on; compaction expires them as well."""
    path = "/api/v1/namespaces?limit=2"
    token = orjson.loads((await _get(client, url(path)))[1])["metadata"]["continue"]
    with cluster.fault(faults.ExpireContinue()):
        status, body = await _get(client, url(f"{path}&continue={token}"))
    cluster.compact()
    await cluster.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: more}\n")
    cluster.compact()
    compacted, _ = await _get(client, url(f"{path}&continue={token}"))
    expired = orjson.loads(body)
    assert (status, compacted, expired["reason"]) == (410, 410, "Expired")
    status, body = await _get(client, url(f"{path}&continue={expired['metadata']['continue']}"))
    assert (status, len(orjson.loads(body)["items"])) == (200, 2)


async def test_a_broken_service_is_stale(cluster: EmbeddedCluster, client: aiohttp.ClientSession, url: Url) -> None:
    """A dead aggregated API: no resources and Stale in discovery, 503 in plain text below; the rest is served."""
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    with cluster.fault(faults.BrokenService()):
        async with client.get(url("/apis"), headers=accept) as answer:
            groups = {item["metadata"]["name"]: item for item in (await answer.json(content_type=None))["items"]}
        async with client.get(url("/apis/metrics.k8s.io/v1beta1")) as answer:
            legacy = (answer.status, answer.content_type)
        below, _ = await _get(client, url("/apis/metrics.k8s.io/v1beta1/pods"))
    assert groups["metrics.k8s.io"]["versions"] == [{"version": "v1beta1", "freshness": "Stale"}]
    assert "apps" in groups
    assert (legacy, below) == ((503, "text/plain"), 503)
    assert (await _get(client, url("/apis/metrics.k8s.io/v1beta1")))[0] == 404


async def test_rotated_keys_end_the_old_tokens_unless_kept(cluster: EmbeddedCluster) -> None:
    """After a rotation new tokens have another key id; old ones are accepted only where the old key is kept."""
    first = await cluster.token()
    cluster.rotate_keys(keep_old=True)
    second = await cluster.token()
    kept = [(await cluster.request("GET", "/api/v1/pods", token=token))[0] for token in (first, second)]
    published = orjson.loads((await cluster.request("GET", "/openid/v1/jwks"))[1])["keys"]
    cluster.rotate_keys()
    assert (kept, len(published)) == ([200, 200], 2)
    assert (await cluster.request("GET", "/api/v1/pods", token=second))[0] == 401


async def test_a_rotated_ca_is_not_trusted_by_those_who_knew_the_old(
    cluster: EmbeddedCluster, client: aiohttp.ClientSession, url: Url
) -> None:
    """Rotating the CA cuts open connections; who has the new bundle gets on."""
    await _get(client, url("/version"))
    cluster.rotate_ca()
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await _get(client, url("/version"))
    async with aiohttp.ClientSession(connector=trusting(cluster)) as session:
        assert (await _get(session, url("/version")))[0] == 200


async def test_a_certificate_can_be_over(cluster: EmbeddedCluster, client: aiohttp.ClientSession, url: Url) -> None:
    """ExpiredCertificate serves one that ended yesterday, for as long as it lasts."""
    await _get(client, url("/version"))
    refused = pytest.raises(aiohttp.ClientConnectorCertificateError, match="certificate has expired")
    with cluster.fault(faults.ExpiredCertificate()), refused:
        await _get(client, url("/version"))
    assert (await _get(client, url("/version")))[0] == 200


async def test_a_webhook_refuses_writes(cluster: EmbeddedCluster, client: aiohttp.ClientSession, url: Url) -> None:
    """A webhook denies writes in its own words, or only their dry runs; reading is none of its business."""
    path = url("/api/v1/namespaces/demo/configmaps")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    with cluster.fault(faults.Webhook("policy.example", denies="no ConfigMaps on a Friday")):
        async with client.post(path, json=body) as answer:
            denied = (answer.status, (await answer.json())["message"])
        assert (await _get(client, path))[0] == 200
    with cluster.fault(faults.Webhook("old.example", supports_dry_run=False)):
        async with client.post(f"{path}?dryRun=All", json=body) as answer:
            dry = (answer.status, (await answer.json())["message"])
        async with client.post(path, json=body) as answer:
            assert answer.status == 201
    assert denied == (403, 'admission webhook "policy.example" denied the request: no ConfigMaps on a Friday')
    assert dry == (400, 'admission webhook "old.example" does not support dry run')


async def test_a_huge_list_is_streamed(cluster: EmbeddedCluster, client: aiohttp.ClientSession, url: Url) -> None:
    """HugeList is a valid list of about the size asked for, which nobody has to hold; leaving in the middle is fine."""
    with cluster.fault(faults.HugeList(1 << 20)):
        body = (await _get(client, url("/api/v1/configmaps")))[1]
        assert abs(len(body) - (1 << 20)) < 1 << 17
        assert orjson.loads(body)["kind"] == "ConfigMapList"
        table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        async with client.get(url("/api/v1/configmaps"), headers=table) as answer:
            assert orjson.loads(await answer.read())["rows"][0]["cells"] == ["huge-000000"]
    with cluster.fault(faults.HugeList(200 << 20)):
        async with client.get(url("/api/v1/configmaps")) as answer:
            assert len(await answer.content.readexactly(1 << 16)) == 1 << 16
    assert (await _get(client, url("/version")))[0] == 200
