"""Every token that must not get in, at the real gateway in front of two real clusters."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest

from tests.cluster.cluster import RealCluster
from tests.journeys.conftest import GatewayProcess, describe, running_gateway

ISSUER = "https://kubernetes.default.svc"
Clusters = tuple[RealCluster, RealCluster]


def claims(cluster: RealCluster, **changed: Any) -> dict[str, Any]:
    """Return claims that are good for the cluster, but for what is changed; None leaves a claim out."""
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "sub": "system:serviceaccount:demo:mcp",
        "aud": [cluster.server, "k-mcp", ISSUER],
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "kubernetes.io": {"namespace": "demo", "serviceaccount": {"name": "mcp", "uid": "0"}},
    }
    return {name: value for name, value in (good | changed).items() if value is not None}


async def post(url: str, *authorization: str, path: str = "") -> httpx2.Response:
    """Send a harmless MCP request with these Authorization headers."""
    headers = [("Accept", "application/json, text/event-stream"), ("Content-Type", "application/json")]
    headers += [("Authorization", value) for value in authorization]
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    async with httpx2.AsyncClient(timeout=30) as http:
        return await http.post(f"{url}{path}", headers=headers, content=json.dumps(body))


def unsigned(payload: dict[str, Any], algorithm: str = "none") -> str:
    """Return a token whose header names another algorithm than its (absent) signature."""
    parts = ({"alg": algorithm, "typ": "JWT"}, payload)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "AAAA" if algorithm != "none" else ""])


def bad_claims(east: RealCluster, west: RealCluster) -> dict[str, dict[str, Any]]:
    """Return claims that must be refused, by what is wrong with them."""
    now = int(time.time())
    server = east.server
    host = server.removeprefix("https://")
    return {
        "audience is a string": claims(east, aud=server),
        "two audiences": claims(east, aud=[server, "k-mcp"]),
        "four audiences": claims(east, aud=[server, "k-mcp", ISSUER, "more"]),
        "audiences reordered": claims(east, aud=["k-mcp", server, ISSUER]),
        "audience repeated": claims(east, aud=[server, "k-mcp", "k-mcp"]),
        "another gateway's": claims(east, aud=[server, "other", ISSUER]),
        "another default audience": claims(east, aud=[server, "k-mcp", "other"]),
        "userinfo in the URL": claims(east, aud=[f"https://user@{host}", "k-mcp", ISSUER]),
        "query in the URL": claims(east, aud=[f"{server}?x=1", "k-mcp", ISSUER]),
        "another port": claims(east, aud=["https://127.0.0.1:1", "k-mcp", ISSUER]),
        "a cluster nobody listed": claims(east, aud=["https://elsewhere.example", "k-mcp", ISSUER]),
        "no expiry": claims(east, exp=None),
        "expired": claims(east, exp=now - 1, nbf=now - 100),
        "expiry is no number": claims(east, exp="tomorrow"),
        "not yet valid": claims(east, nbf=now + 300),
        "the other cluster's": claims(west, aud=[server, "k-mcp", ISSUER]),
    }


async def test_bad_claims_are_refused_and_nobody_is_dialled(gateway: GatewayProcess, real_clusters: Clusters) -> None:
    """Claims that can be judged alone must be refused in RFC 6750's words, without a request to any cluster."""
    east, west = real_clusters
    requests = sum([await _requests(cluster) for cluster in real_clusters])
    for wrong, payload in bad_claims(east, west).items():
        if wrong == "the other cluster's":
            continue
        answer = await post(gateway.url, f"Bearer {east.sign(payload)}")
        assert answer.status_code == 401, wrong
        assert answer.headers["www-authenticate"].startswith('Bearer realm="kube-mcp-gateway", error="invalid_token"')
        assert answer.json()["error_description"], wrong
    assert sum([await _requests(cluster) for cluster in real_clusters]) == requests


async def _requests(cluster: RealCluster) -> float:
    """Count what reached a cluster on behalf of callers; its own metrics are read by the test."""
    keys = ("/openid/v1/jwks", "selfsubjectreviews")
    metrics = await cluster.metrics()
    return sum(
        float(line.rpartition(" ")[2])
        for line in metrics.splitlines()
        if line.startswith("apiserver_request_total{") and any(key in line for key in keys)
    )


async def test_forged_and_foreign_signatures_are_refused(gateway: GatewayProcess, real_clusters: Clusters) -> None:
    """No algorithm trick, and no signature of another cluster's key, must count for a cluster."""
    east, west = real_clusters
    good = claims(east)
    forged = {
        "none": unsigned(good),
        "HS256": jwt.encode(good, "k" * 32, algorithm="HS256"),
        "RS256 without a signature": unsigned(good, "RS256"),
        "the other cluster's key": west.sign(good),
        "cut short": east.sign(good)[:-4],
    }
    for trick, token in forged.items():
        answer = await post(gateway.url, f"Bearer {token}")
        assert answer.status_code == 401, trick
        assert "WWW-Authenticate" in answer.headers, trick


async def test_an_unlisted_cluster_is_answered_like_a_listed_one(
    gateway: GatewayProcess, real_clusters: Clusters
) -> None:
    """A caller without a valid token must not learn which clusters are listed."""
    east, west = real_clusters
    listed = await post(gateway.url, f"Bearer {west.sign(claims(east))}")
    unlisted = await post(
        gateway.url, f"Bearer {west.sign(claims(east, aud=['https://elsewhere.example', 'k-mcp', ISSUER]))}"
    )
    assert listed.status_code == unlisted.status_code == 401
    assert listed.text == unlisted.text
    assert listed.headers["www-authenticate"] == unlisted.headers["www-authenticate"]


@pytest.mark.parametrize(
    "authorization",
    [(), ("Basic dXNlcjpwYXNz",), ("Bearer",), ("Bearer a b",), ("Bearer not-a-jwt",), ("Bearer " + "a" * 20_000,)],
    ids=["none", "basic", "empty", "two words", "not a JWT", "over 16 KiB"],
)
async def test_odd_headers_are_refused(gateway: GatewayProcess, authorization: tuple[str, ...]) -> None:
    """Whatever is not one Bearer token of bounded size must get 401 and a challenge."""
    answer = await post(gateway.url, *authorization)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")


async def test_two_authorization_headers_are_refused(gateway: GatewayProcess, real_cluster: RealCluster) -> None:
    """Even where one of them is good: nobody must guess which one counts."""
    token = await real_cluster.token()
    answer = await post(gateway.url, f"Bearer {token}", "Bearer other")
    assert answer.status_code == 401
    assert 'error="invalid_request"' in answer.headers["www-authenticate"]


async def test_the_path_never_routes(gateway: GatewayProcess, real_clusters: Clusters) -> None:
    """`/mcp/NAME` must serve that cluster's tokens only."""
    east, west = real_clusters
    token = await east.token()
    assert (await post(gateway.url, f"Bearer {token}", path=f"/{east.name}")).status_code != 401
    for name in (west.name, "nobody"):
        assert (await post(gateway.url, f"Bearer {token}", path=f"/{name}")).status_code == 401


async def test_other_spellings_of_the_listed_url_work(real_cluster: RealCluster, tmp_path: Path) -> None:
    """Scheme and host in capitals must still be the listed cluster; so must a token signed for just that."""
    with running_gateway(tmp_path, describe(real_cluster)) as gateway:
        shouted = real_cluster.server.replace("https://", "HTTPS://")
        token = await real_cluster.token(shouted, "k-mcp", ISSUER)
        assert (await post(gateway.url, f"Bearer {token}")).status_code != 401


async def test_a_cluster_that_is_down_is_503_and_hurts_no_other(
    real_clusters: Clusters, tmp_path: Path, unused_tcp_port: int
) -> None:
    """A token that can't be verified must be 503 with Retry-After within the connect time-out, others served on."""
    east, west = real_clusters
    down = describe(west)[0] | {"address": f"https://127.0.0.1:{unused_tcp_port}"}
    with running_gateway(tmp_path, [*describe(east), down]) as gateway:
        started = time.monotonic()
        answer = await post(gateway.url, f"Bearer {await west.token()}")
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert time.monotonic() - started < 3.5
        assert (await post(gateway.url, f"Bearer {await east.token()}")).status_code not in {401, 503}


async def test_no_token_is_written_anywhere(real_cluster: RealCluster, tmp_path: Path) -> None:
    """Neither a good nor a bad token must appear in the log, the audit or the metrics."""
    with running_gateway(tmp_path, describe(real_cluster)) as gateway:
        good, bad = await real_cluster.token(), real_cluster.sign(claims(real_cluster, exp=1))
        for token in (good, bad):
            await post(gateway.url, f"Bearer {token}")
        metrics = httpx2.get(f"{gateway.admin}/metrics").text
    written = "\n".join([*gateway.lines, metrics])
    for token in (good, bad):
        assert all(part not in written for part in token.split("."))
