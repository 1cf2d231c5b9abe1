"""Boundary to clusters' signing keys: which a cluster has, when they are read again, and what they say of a token.

Anybody can send a token that makes the gateway read keys, so reading is bounded: keys that were read rest for a minute,
whatever key id a token claims, and all who wait at one time wait for one answer. Where it takes a good token to get
one, sources take turns: a crowd of forged tokens holds up its own source, and anybody else by one reading.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Literal

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateway.clusters.options import ClusterOptions
from gateway.clusters.pool import ClusterKey, Pool
from gateway.identity.asking import Withheld, ask_issuer, ask_keys
from gateway.identity.attempts import Attempts
from gateway.identity.claims import UnverifiedToken
from gateway.identity.flights import Flights
from gateway.kube.credential import BearerToken

Finding = Literal["verified", "forged", "refused", "unsettled"]
"""The keys verify the token; a key it names did not sign it; the cluster said 401; only the cluster itself can tell."""

KEYS_LAST: Final = 600.0
KEYS_REST: Final = 60.0
"""Seconds after which keys are read again in any case, and before which they are not, whatever a token claims."""

_MAX_KEYS: Final = 64
_MAX_TRIES: Final = 8
_RSA_BITS: Final = range(2048, 8193)
_RSA_EXPONENT_BITS: Final = 32
"""Bounds on what a verification may cost, some hundred microseconds: a key set is the cluster's own choice."""

_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES: Final = {
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
}
_PUBLIC: Final = ("kty", "crv", "n", "e", "x", "y", "alg")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key, its id, if it has one, and the algorithms it may be used with."""

    key_id: str | None
    algorithms: frozenset[str]
    public: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """One cluster's signing keys and the issuer they sign for, as read at `read_at` seconds."""

    cluster_key: ClusterKey
    issuer: str
    keys: tuple[SigningKey, ...]
    read_at: float

    def finding(self, token: UnverifiedToken) -> Finding:
        """Say what these keys tell of a token. They tell nothing of what another issuer signed.

        Key ids may repeat, and a token may lack one; then each key of the right kind is tried.
        """
        if token.issuer != self.issuer:
            return "unsettled"
        named = [key for key in self.keys if token.key_id is None or key.key_id == token.key_id]
        fitting = [key for key in named if token.algorithm in key.algorithms]
        algorithm = jwt.get_algorithm_by_name(token.algorithm)
        if any(algorithm.verify(token.signed, key.public, token.signature) for key in fitting[:_MAX_TRIES]):
            return "verified"
        if token.key_id is None or not named or len(fitting) > _MAX_TRIES:
            return "unsettled"
        return "forged"


def signing_key(member: Any) -> SigningKey | None:
    """Return the key that a member of a key set (RFC 7517) describes, or None where no token here may be signed by it.

    A key is used only with algorithms of its own kind, and only with the one it is for, if it says so (RFC 8725,
    section 3.1); a symmetric key is nobody's signature.
    """
    if not isinstance(member, dict) or member.get("use", "sig") != "sig":
        return None
    operations = member.get("key_ops", ["verify"])
    key_id = member.get("kid")
    public = {name: member[name] for name in _PUBLIC if name in member}
    if not all(isinstance(value, str) for value in public.values()) or not isinstance(key_id, str | None):
        return None
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    kind = public.get("kty", "")
    algorithms = _RSA if kind == "RSA" else _CURVES.get((kind, public.get("crv", "")), frozenset())
    if "alg" in public:
        algorithms &= {public["alg"]}
    if not algorithms:
        return None
    try:
        key = jwt.PyJWK(public, algorithm=min(algorithms)).key
    except jwt.PyJWTError:
        return None
    if isinstance(key, RSAPublicKey) and (
        key.key_size not in _RSA_BITS or key.public_numbers().e.bit_length() > _RSA_EXPONENT_BITS
    ):
        return None
    return SigningKey(key_id, algorithms, key)


class KeyRings:
    """The signing keys of the clusters, one ring each; as many as clusters are listed."""

    def __init__(self, pool: Pool, attempts: Attempts, clock: Callable[[], float], *, seconds: float) -> None:
        """Start with none. `clock` counts seconds; `seconds` bounds one reading."""
        self._pool = pool
        self._attempts = attempts
        self._clock = clock
        self._seconds = seconds
        self._rings: dict[str, KeyRing] = {}
        self._flights: Flights[tuple[ClusterKey, str | None], KeyRing | Withheld] = Flights()
        self._turns: dict[ClusterKey, asyncio.Lock] = {}
        self.reads = 0

    def known(self, cluster: ClusterOptions, key: ClusterKey, claims: UnverifiedToken) -> Finding | None:
        """Say what the keys at hand tell of a token; None where they must be read: they are old, or lack its key."""
        ring = self._rings.get(cluster.name)
        if ring is None or ring.cluster_key != key:
            return None
        age = self._clock() - ring.read_at
        found = ring.finding(claims) if age < KEYS_LAST else None
        rests = age < KEYS_REST or claims.issuer != ring.issuer
        return None if found == "unsettled" and not rests else found

    async def read(
        self, cluster: ClusterOptions, key: ClusterKey, token: BearerToken, claims: UnverifiedToken, lane: str
    ) -> Finding:
        """Read the cluster's keys with the token itself, and say what they tell of it.

        Raises:
            ClusterUnavailable: The cluster can't be asked now.
            TooManyFailures: While this token waited, too many others of its source were refused.
            TimeoutError: Its turn did not come in time.
        """
        ring = self._rings.get(cluster.name)
        # Keys too old to be believed still tell whom a crowd of forged tokens must not hold up.
        likely = ring is not None and ring.cluster_key == key and ring.finding(claims) == "verified"
        while True:
            self._attempts.admit(lane)
            if likely:
                outcome = await self._flights.join((key, None), partial(self._ask, cluster, key, token, claims))
            else:
                outcome = await self._flights.join((key, lane), partial(self._in_turn, cluster, key, token, claims))
            if isinstance(outcome, KeyRing):
                return outcome.finding(claims)
            if outcome.why != "refused":
                return "unsettled"
            # A 401 to another's token, a forged one perhaps, says nothing of this one: its own turn comes, in order.
            if outcome.digest == token.digest:
                return "refused"

    def forget(self, key: ClusterKey) -> None:
        """Drop the keys that hang on a retired cluster key."""
        self._rings = {name: ring for name, ring in self._rings.items() if ring.cluster_key != key}
        self._turns.pop(key, None)

    async def close(self) -> None:
        """End what is being read."""
        await self._flights.close()

    async def _in_turn(
        self, cluster: ClusterOptions, key: ClusterKey, token: BearerToken, claims: UnverifiedToken
    ) -> KeyRing | Withheld:
        since = self._clock()
        async with asyncio.timeout(self._seconds), self._turns.setdefault(key, asyncio.Lock()):
            ring = self._rings.get(cluster.name)
            if ring is not None and ring.cluster_key == key and ring.read_at >= since:
                return ring  # by another source's token, or a likely one
            return await self._ask(cluster, key, token, claims)

    async def _ask(
        self, cluster: ClusterOptions, key: ClusterKey, token: BearerToken, claims: UnverifiedToken
    ) -> KeyRing | Withheld:
        published = await ask_keys(self._pool, cluster, token, seconds=self._seconds)
        if isinstance(published, Withheld):
            return published
        keys = tuple(made for made in map(signing_key, published[:_MAX_KEYS]) if made is not None)
        ring = KeyRing(key, claims.issuer, keys, self._clock())
        # The API server has just accepted this token: if its keys verify it, its issuer is theirs.
        if ring.finding(claims) != "verified":
            issuer = await ask_issuer(self._pool, cluster, token, seconds=self._seconds)
            if isinstance(issuer, Withheld):
                return issuer
            ring = replace(ring, issuer=issuer)
        self._rings[cluster.name] = ring
        self.reads += 1
        _log.info("signing_keys_read", cluster=cluster.name, keys=len(keys), issuer=ring.issuer)
        return ring
