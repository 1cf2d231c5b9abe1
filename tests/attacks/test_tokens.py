"""The catalogue of attacks on tokens, presented over HTTP to the real gateway in front of two clusters."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.demo import EmbeddedCluster
from tests.attacks.catalogue import ISSUER, Forge, attacks, compact
from tests.identity.conftest import JWKS, REVIEWS
from tests.journeys.conftest import GatewayProcess, running_gateway

pytestmark = pytest.mark.slow

ATTACKS = attacks()
NOWHERE = "https://nobody-listed.example:6443"
BODY = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
ASKING = (JWKS, "/.well-known/openid-configuration", REVIEWS)
Answer = tuple[int, str, str]
ELSEWHERE: tuple[dict[str, str], ...] = (
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Basic {token}"},
    {"Authorization": "{token}"},
    {"Authorization": "Bearer={token}"},
    {"Authorization": "Bearer\t{token}"},
    {"Authorization": "Bearer {token} {token}"},
    {"Authorization": "Bearer {token},{token}"},
    {"Authorization": "Bearer\xa0{token}"},
    {"Authorization": "Token {token}"},
    {"X-Authorization": "Bearer {token}"},
    {"Proxy-Authorization": "Bearer {token}"},
    {"Cookie": "Authorization=Bearer {token}; token={token}"},
    {"X-Forwarded-Access-Token": "{token}"},
    {"X-Remote-User": "system:admin", "Impersonate-User": "system:admin"},
    {"Sec-WebSocket-Protocol": "base64url.bearer.authorization.k8s.io.{token}"},
)
"""Where a token may stand that is not where it belongs."""


@dataclass(slots=True)
class Bait:
    """A listener that a token may name and that nobody must ever dial."""

    url: str = ""
    dials: int = 0
    heard: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Field:
    """Two clusters with one issuer, of two kinds of keys, the gateway before them, and the bait."""

    gateway: GatewayProcess
    east: EmbeddedCluster
    west: EmbeddedCluster
    bait: Bait
    http: httpx2.AsyncClient

    def forge(self, target: EmbeddedCluster, server: str = "") -> Forge:
        """Return what an attacker has who goes for one cluster, or names another server."""
        other = self.west if target is self.east else self.east
        key = target._state.keys.accepted[0]  # noqa: SLF001  # to sign what no cluster would
        return Forge(key, server or target.server, self.bait.url, other)

    async def present(self, token: str, *, path: str = "", headers: Mapping[str, str] | None = None) -> Answer:
        """Present a token, or other headers, and return status, challenge and body."""
        given: dict[str, Any] = dict(headers) if headers is not None else {"Authorization": f"Bearer {token}"}
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in given.items()]
        encoded += [(b"Accept", b"application/json, text/event-stream"), (b"Content-Type", b"application/json")]
        answer = await self.http.post(f"{self.gateway.url}{path}", headers=encoded, content=json.dumps(BODY))
        return answer.status_code, answer.headers.get("www-authenticate", ""), answer.text


def described(cluster: EmbeddedCluster, folder: Path) -> dict[str, Any]:
    """Return an entry of the settings."""
    file = folder / f"{cluster.name}.crt"
    file.write_bytes(cluster.ca_pem)
    return {"name": cluster.name, "server": cluster.server, "certificateAuthority": str(file)} | {
        "defaultAudience": ISSUER
    }


@pytest.fixture
async def scene(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Field]:
    """Start everything; a parameter is the number of failures that a source may have in a minute."""
    bait = Bait()

    async def dialled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bait.dials += 1
        bait.heard.append(await reader.read(1024))
        writer.close()

    async with (
        EmbeddedCluster("east", algorithm="RS256") as east,
        EmbeddedCluster("west") as west,
        await asyncio.start_server(dialled, "127.0.0.1", 0) as listener,
        httpx2.AsyncClient(timeout=30) as http,
    ):
        bait.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        listen = {"failedAuthenticationsPerMinute": getattr(request, "param", 0)}
        clusters = [described(east, tmp_path), described(west, tmp_path)]
        starting = running_gateway(tmp_path, clusters, listen=listen)
        gateway = await asyncio.to_thread(starting.__enter__)
        try:
            yield Field(gateway, east, west, bait, http)
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)


async def test_no_attack_gets_in_and_none_tells_clusters_apart(scene: Field) -> None:
    """Each is 401 in RFC 6750's words, the same for a listed and an unlisted cluster, and costs next to nothing."""
    for target in (scene.east, scene.west):
        assert (await scene.present(await target.token()))[0] == 200
        asked = len(target.requests)
        slowest = 0.0
        for name, attack in ATTACKS.items():
            began = time.perf_counter()
            answer = await scene.present(_presentable(attack(scene.forge(target))))
            slowest = max(slowest, time.perf_counter() - began)
            assert answer[0] == 401, (name, answer)
            assert answer[1].startswith('Bearer realm="kube-mcp-gateway", error="'), (name, answer)
            assert ISSUER not in answer[1] + answer[2], name
            if not name.startswith("aud names"):
                elsewhere = await scene.present(_presentable(attack(scene.forge(target, NOWHERE))))
                assert elsewhere == answer, name
        assert slowest < 5
        # What can't be judged by itself is asked of the cluster, once each, and nothing but the fixed questions.
        seen = Counter(seen.path for seen in target.requests)
        assert set(seen) <= set(ASKING)
        assert len(target.requests) - asked <= len(ATTACKS)
        assert (await scene.present(await target.token(service_account="demo/viewer")))[0] == 200
    assert scene.bait.dials == 0, scene.bait.heard
    assert scene.gateway.metric("kube_mcp_gateway_identity_verdicts") == 4
    assert not [line for line in scene.gateway.lines if '"level":"error"' in line or "Traceback" in line]


def _presentable(token: str) -> str:
    """Return the token without what no client library sends in a header: those have tests of their own."""
    return "".join(letter if letter not in "\r\n\0" and ord(letter) < 256 else "-" for letter in token)


async def test_a_token_is_good_on_its_own_cluster_only(scene: Field) -> None:
    """Issuer and subject are equal on both; the audience, the path and the key say which is meant."""
    east, west = scene.forge(scene.east), scene.forge(scene.west)
    for forge, good in ((east, await scene.east.token()), (west, await scene.west.token())):
        name = "east" if forge is east else "west"
        stranger = "west" if forge is east else "east"
        assert (await scene.present(good, path=f"/{name}"))[0] == 200
        assert (await scene.present(good, path=f"/{stranger}"))[0] == 401
    replayed = [
        scene.west.sign(east.claims()),
        scene.west.sign(east.claims(), {"kid": east.key.kid}),
        scene.west.sign(east.claims(), {}),
        scene.east.sign(west.claims()),
        scene.east.sign(west.claims(), {"kid": west.key.kid}),
        scene.east.sign(west.claims(), {}),
    ]
    answers = {await scene.present(token) for token in replayed}
    assert [status for status, _, _ in answers] == [401]


async def test_a_good_token_anywhere_else_is_none(scene: Field) -> None:
    """One Authorization header with the scheme Bearer is the only way in; nor does a query carry a token."""
    token = await scene.east.token()
    for headers in ELSEWHERE:
        given = {name: value.format(token=token) for name, value in headers.items()}
        assert (await scene.present("", headers=given))[0] == 401, headers
        asking = f"?access_token={token}&token={token}"
        assert (await scene.present("", headers=given, path=asking))[0] == 401, headers


@pytest.mark.parametrize("scene", [60], indirect=True)
async def test_a_flood_from_one_source_ends_at_its_limit(scene: Field) -> None:
    """After sixty refused tokens the source gets 429 with Retry-After; who was verified goes on from there."""
    known = await scene.east.token()
    assert (await scene.present(known))[0] == 200
    forge = scene.forge(scene.east)
    asked = len(scene.east.requests)
    answers = Counter([(await scene.present(forge.by_me(kid=f"kid-{n}")))[0] for n in range(200)])
    assert set(answers) == {401, 429}
    assert answers[401] < 100
    assert len(scene.east.requests) - asked <= answers[401] + 2
    assert (await scene.present(known))[0] == 200
    tokens = [await scene.east.token(service_account="demo/viewer") for _ in range(5)]
    later = [
        await scene.http.post(scene.gateway.url, headers={"Authorization": f"Bearer {token}"}, content=compact(BODY))
        for token in tokens
    ]
    # One more is let in every second, and that may be just now.
    refused = [response for response in later if response.status_code == 429]
    assert len(refused) >= 3
    assert {(each.headers["retry-after"], each.json()["error"]) for each in refused} == {("1", "too_many_failures")}
    counted = scene.gateway.metric("kube_mcp_gateway_authentication_failures_total", reason="throttled")
    assert counted == answers[429] + len(refused)
    assert any('"event":"authentication_throttled"' in line for line in scene.gateway.lines)
