import asyncio
import socket
import time
from collections.abc import Callable

import aiohttp
import jwt
import orjson
import pytest

from gateway.demo import EmbeddedCluster
from gateway.demo.identity import new_rsa_key
from tests.demo.conftest import trusting

Url = Callable[[str], str]


async def test_a_cluster_says_that_it_is_not_kubernetes(cluster: EmbeddedCluster) -> None:
    """Version string and Server header say that this is an embedded cluster."""
    status, body = await cluster.request("GET", "/version")
    assert (status, orjson.loads(body)["gitVersion"]) == (200, "v1.36.3+embedded")


async def test_administration_is_not_counted(cluster: EmbeddedCluster) -> None:
    """What a test asks as administrator neither connects nor counts, so that it can count what a gateway does."""
    await cluster.request("GET", "/api/v1/namespaces")
    assert (cluster.connections, cluster.served, len(cluster.requests)) == (0, 0, 0)


async def test_requests_and_connections_are_counted(
    cluster: EmbeddedCluster, client: aiohttp.ClientSession, url: Url
) -> None:
    """Every request over the network is noted with its connection; a kept connection counts once."""
    for _ in range(3):
        async with client.get(url("/api/v1/pods?limit=1"), headers={"User-Agent": "me"}) as answer:
            await answer.read()
    assert (cluster.served, cluster.connections, cluster.count("GET", "/pods")) == (3, 1, 3)
    seen = cluster.requests[0]
    assert (seen.method, seen.path, seen.query, seen.agent, seen.connection) == (
        "GET",
        "/api/v1/pods",
        "limit=1",
        "me",
        1,
    )


async def test_clusters_share_an_issuer_and_nothing_else() -> None:
    """Two clusters have one issuer string and different CAs and keys: a token of one is nothing to the other."""
    async with EmbeddedCluster("one") as one, EmbeddedCluster("two") as two:
        token = await one.token()
        mine, theirs = [await found.request("GET", "/api/v1/pods", token=token) for found in (one, two)]
        other = jwt.decode(await two.token(), options={"verify_signature": False})
        assert jwt.decode(token, options={"verify_signature": False})["iss"] == other["iss"]
        assert (mine[0], theirs[0], one.ca_pem == two.ca_pem) == (200, 401, False)


async def test_a_token_names_server_gateway_and_cluster(cluster: EmbeddedCluster) -> None:
    """Without audiences a token has the three that a gateway wants, in order."""
    audiences = jwt.decode(await cluster.token(), options={"verify_signature": False})["aud"]
    assert audiences == [cluster.server, "k-mcp", "https://kubernetes.default.svc"]


async def test_tokens_can_be_signed_with_rsa() -> None:
    """A cluster can be made to sign as most real ones do."""
    async with EmbeddedCluster("rsa", algorithm="RS256") as cluster:
        token = await cluster.token()
        assert jwt.get_unverified_header(token)["alg"] == "RS256"
        assert (await cluster.request("GET", "/api/v1/pods", token=token))[0] == 200


async def test_any_token_can_be_forged(cluster: EmbeddedCluster) -> None:
    """`sign` makes tokens with whatever claims, headers, key and algorithm a test of refusals needs."""
    claims = jwt.decode(await cluster.token(), options={"verify_signature": False})
    good = cluster.sign(claims)
    foreign = cluster.sign(claims, key=new_rsa_key(), algorithm="RS256")
    unsigned = cluster.sign(claims, algorithm="none")
    nameless = cluster.sign(claims, headers={})
    codes = [
        (await cluster.request("GET", "/api/v1/pods", token=token))[0] for token in (good, foreign, unsigned, nameless)
    ]
    assert codes == [200, 401, 401, 200]
    assert "kid" not in jwt.get_unverified_header(nameless)


async def test_a_port_that_is_taken_is_an_error() -> None:
    """Asking for a port somebody has raises OSError, at once."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            await EmbeddedCluster("late", port=taken.getsockname()[1]).start()


async def test_a_stopped_cluster_lets_go_of_everything(client: aiohttp.ClientSession, cluster: EmbeddedCluster) -> None:
    """After stop nobody listens, and a watch that was open has ended."""
    async with client.get(f"{cluster.server}/api/v1/pods?watch=true") as watch:
        await cluster.stop()
        with pytest.raises(aiohttp.ClientError):
            await watch.content.readany()
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get(f"{cluster.server}/version")


async def test_many_clusters_start_quickly() -> None:
    """Thirty clusters start in one process with two seconds of CPU time and each answers under its own CA."""
    began = time.process_time()
    clusters = [EmbeddedCluster(f"c{number}") for number in range(30)]
    await asyncio.gather(*(cluster.start() for cluster in clusters))
    took = time.process_time() - began
    try:
        for cluster in clusters[::10]:
            async with (
                aiohttp.ClientSession(connector=trusting(cluster)) as session,
                session.get(f"{cluster.server}/readyz") as answer,
            ):
                assert await answer.text() == "ok"
    finally:
        await asyncio.gather(*(cluster.stop() for cluster in clusters))
    assert took < 2


async def test_a_manifest_is_applied_as_kubectl_would(cluster: EmbeddedCluster) -> None:
    """`apply` takes several documents, creates and changes, and says what was refused."""
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: demo}\ndata: {k: %s}\n"
    await cluster.apply("---\n".join(("apiVersion: v1\nkind: Namespace\nmetadata: {name: more}\n", text % "v")))
    await cluster.apply(text % "w")
    body = orjson.loads((await cluster.request("GET", "/api/v1/namespaces/demo/configmaps/a"))[1])
    assert (body["data"], body["metadata"]["managedFields"][0]["manager"]) == ({"k": "w"}, "kubectl")
    with pytest.raises(ValueError, match='namespaces \\\\"none\\\\" not found'):
        await cluster.apply(text.replace("demo", "none") % "v")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", '{"apiVersion": [], "kind": {}, "metadata": true}'),
        ("application/apply-patch+yaml", "[1, 2"),
        ("application/apply-patch+yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: 3\n"),
        ("application/json-patch+json", '[{"op": 3, "path": null}, 7]'),
        ("application/merge-patch+json", '{"metadata": null, "data": [[]]}'),
        ("application/strategic-merge-patch+json", '{"data": {"k": {"deep": 1}}}'),
    ],
)
async def test_nonsense_is_refused_as_such(cluster: EmbeddedCluster, content_type: str, body: str) -> None:
    """Whatever is sent, the answer is a Status of the caller's fault, never a failure of the embedded cluster."""
    path = "/api/v1/namespaces/demo/configmaps/a"
    await cluster.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: demo}\n")
    method = "PUT" if content_type == "application/json" else "PATCH"
    status, answer = await cluster.request(method, f"{path}?fieldManager=m", body, content_type=content_type)
    assert (400 <= status < 500, orjson.loads(answer)["kind"]) == (True, "Status")
