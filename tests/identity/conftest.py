"""Two real clusters, one identity, and hands to turn the clock with."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.clusters.options import ClusterOptions, LimitOptions
from gateway.clusters.pool import Pool
from gateway.clusters.registry import ClusterRegistry
from gateway.clusters.trust import TrustStore
from gateway.demo import EmbeddedCluster
from gateway.errors import ClusterUnavailable, Unauthenticated
from gateway.identity import Identity, IdentityOptions, Principal
from gateway.identity.attempts import Attempts

JWKS = "/openid/v1/jwks"
REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
ISSUER = "https://kubernetes.default.svc"


@dataclass(slots=True)
class Clock:
    """Both clocks of the gateway, which go on only when told."""

    ticks: float = 1000.0
    epoch: float = field(default_factory=time.time)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.ticks += seconds
        self.epoch += seconds


@dataclass(frozen=True, slots=True)
class Scene:
    """The parts of a test."""

    identity: Identity
    pool: Pool
    clock: Clock
    east: EmbeddedCluster
    west: EmbeddedCluster

    async def refused(self, token: str, *, cluster_name: str | None = None, source: str = "") -> Unauthenticated:
        """Return the refusal that a token gets."""
        with pytest.raises(Unauthenticated) as caught:
            await self.identity.authenticate(token, cluster_name=cluster_name, source=lambda: source)
        return caught.value

    def arriving(self, tokens: Iterable[str], source: str) -> list["asyncio.Task[Principal]"]:
        """Let these tokens come from one source at once."""
        return [asyncio.create_task(self.identity.authenticate(one, source=lambda: source)) for one in tokens]

    async def served(self, token: str) -> Principal:
        """Try again until the cluster can be asked, as callers are told to: a busy machine may miss a short deadline.

        Elsewhere than in tests with such a deadline, the first try must do.
        """
        while True:
            try:
                return await self.identity.authenticate(token)
            except ClusterUnavailable:
                await asyncio.sleep(0)


def listed(cluster: EmbeddedCluster, **options: Any) -> ClusterOptions:
    """Return the settings that list a cluster."""
    return ClusterOptions.model_validate(
        {
            "name": cluster.name,
            "server": cluster.server,
            "certificate_authority_data": cluster.ca_pem.decode(),
            "limits": LimitOptions(connect_seconds=10),
            **options,
        }
    )


@asynccontextmanager
async def scene_of(
    *, deadline: float = 20.0, options: IdentityOptions | None = None, failures: int = 0, **east_options: Any
) -> AsyncIterator[Scene]:
    """Start east and west and an identity that knows both; `east_options` are added to east's settings.

    So many `failures` a minute are let to a source; 0 is no limit.
    """
    clock = Clock()
    async with AsyncExitStack() as stack:
        east = await stack.enter_async_context(EmbeddedCluster("east"))
        west = await stack.enter_async_context(EmbeddedCluster("west"))
        registry = ClusterRegistry([listed(east, **east_options), listed(west)])
        pool = await stack.enter_async_context(Pool(TrustStore(lambda: clock.ticks), lambda: clock.ticks))
        identity = Identity(
            registry,
            pool,
            options or IdentityOptions(),
            Attempts(lambda: clock.ticks, failures),
            clock=lambda: clock.ticks,
            now=lambda: clock.epoch,
            deadline=deadline,
        )
        pool.when_retired(identity.forget)
        stack.push_async_callback(identity.close)
        yield Scene(identity, pool, clock, east, west)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """Two clusters with one issuer, and an identity that has seen no token yet."""
    async with scene_of() as made:
        yield made


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that other tasks bring about."""
    while not condition():  # noqa: ASYNC110  # what is waited for happens in a server that has no event to offer
        await asyncio.sleep(0.001)


def claims_for(cluster: EmbeddedCluster, **claims: Any) -> dict[str, Any]:
    """Return the claims of a good token for a cluster, with some changed; None leaves one out."""
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "sub": "system:serviceaccount:demo:mcp",
        "aud": [cluster.server, "k-mcp", ISSUER],
        "exp": now + 3600,
        "nbf": now,
        "iat": now,
        "jti": "11111111-2222",
    }
    return {name: value for name, value in {**good, **claims}.items() if value is not None}


def forged(cluster: EmbeddedCluster, *, kid: str = "unknown", **claims: Any) -> str:
    """Return a token that looks right and was signed by nobody the cluster knows."""
    return jwt.encode(
        claims_for(cluster, **claims), ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": kid}
    )


def kid_of(token: str) -> str:
    """Return the key id of a token."""
    return str(jwt.get_unverified_header(token)["kid"])
