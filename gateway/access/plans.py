"""Boundary around plans: a caller gets one with what it is shown, and only who presents it may do just that, once.

A plan holds digests alone, so it stays small and says nothing. What it is made of is compared when it comes back, so
that each kind of misuse can be named.
"""

import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from typing import Final, Protocol

from gateway.access.sealing import SealingKeys
from gateway.errors import BadArgument, GatewayError
from gateway.identity.principal import Principal

LIFETIME: Final = 600
"""Seconds for which a plan can be used."""
_LONGEST: Final = 400
"""Bytes from which a text is no plan."""
_PART: Final = 16
"""Bytes of each digest, of the nonce and of the seal (HMAC-SHA-256, RFC 2104)."""
_EXPIRY: Final = 5
_SCOPE: Final = 4
_VERSION: Final = b"\x01"
"""The first byte of every plan; whoever changes what follows it changes this."""
_LENGTH: Final = len(_VERSION) + _PART * 5 + _EXPIRY + _SCOPE
_AGAIN: Final = "Nothing was done. Call again without `plan` to get a new one."


class UsedPlans(Protocol):
    """Where it is kept which plans were used.

    `scope` names that place in four bytes: a plan is used only where it was made, because elsewhere nobody knows
    whether it was. What a store that replicas share needs is one atomic command: `SET plan 1 NX EX seconds`.
    """

    scope: bytes

    async def first_use(self, plan: bytes, seconds: float) -> bool:
        """Note that the plan is used, for at least so many seconds; returns False where that had been noted before.

        Raises:
            GatewayError: It can't be noted; the plan is then not to be used.
        """
        ...


class UsedInMemory:
    """The plans used in this process. Never forgets one that could still be presented, so it refuses when full."""

    def __init__(self, clock: Callable[[], float], *, entries: int = 50_000) -> None:
        """Start empty. `clock` counts seconds."""
        self.scope = os.urandom(_SCOPE)
        self._clock = clock
        self._entries = entries
        self._until: dict[bytes, float] = {}

    async def first_use(self, plan: bytes, seconds: float) -> bool:
        """See `UsedPlans`."""
        now = self._clock()
        if plan in self._until:
            return False
        if len(self._until) >= self._entries:
            self._until = {used: until for used, until in self._until.items() if until > now}
            if len(self._until) >= self._entries:
                raise GatewayError("Too many changes were confirmed in the last minutes. Try again in a minute.")
        self._until[plan] = now + seconds
        return True


@dataclass(frozen=True, slots=True)
class Binding:
    """What a plan is for: who it was given to, what was asked for, and what that would meet on the cluster.

    `asked` and `met` are texts of any length, such as the manifest's canonical JSON and the live objects' uids.
    """

    principal: Principal
    tool: str
    asked: str
    met: str

    def digests(self) -> tuple[bytes, bytes, bytes]:
        """Return a digest each of the caller (on one cluster), of what was asked and of what it would meet."""
        who = self.principal
        return _digest(who.cluster_url, who.issuer, who.subject), _digest(self.tool, self.asked), _digest(self.met)


def _digest(*parts: str) -> bytes:
    coded = [part.encode("utf-8", "surrogatepass") for part in parts]
    return sha256(b"".join(len(part).to_bytes(8) + part for part in coded)).digest()[:_PART]


class Outdated(BadArgument):
    """The plan is the caller's and for this, but what it would meet has changed since it was made."""


class MadeElsewhere(BadArgument):
    """The plan is good, but only the replica that made it knows whether it was used."""


@dataclass(frozen=True, slots=True)
class Plans:
    """Makes and takes plans; `clock` counts seconds since the epoch."""

    keys: SealingKeys
    used: UsedPlans
    clock: Callable[[], float]

    def make(self, binding: Binding) -> str:
        """Return a plan for just this, valid for ten minutes."""
        expiry = int(self.clock()) + LIFETIME
        content = os.urandom(_PART) + expiry.to_bytes(_EXPIRY) + self.used.scope + b"".join(binding.digests())
        sealed = _VERSION + _seal(self.keys.of("plan")[0], content) + content
        return urlsafe_b64encode(sealed).decode().rstrip("=")

    def check(self, plan: str, binding: Binding) -> bytes:
        """Return what `use` takes, if the plan is for just this and has not lapsed. It stays unused.

        Raises:
            Outdated: It was made for this, but the cluster has changed.
            MadeElsewhere: Another replica made it, or this one before a restart, and they share no store.
            BadArgument: It is damaged, has lapsed, or is for another caller, cluster or request.
        """
        content = BytesIO(self._opened(plan))
        nonce, expiry, scope, digests = content.read(_PART), content.read(_EXPIRY), content.read(_SCOPE), content.read()
        who, asked, met = binding.digests()
        if not hmac.compare_digest(digests[:_PART], who):
            raise BadArgument(f"This plan was given to another caller or on another cluster. {_AGAIN}")
        if not hmac.compare_digest(digests[_PART : 2 * _PART], asked):
            raise BadArgument(f"This plan is for another request: the arguments must be the same as before. {_AGAIN}")
        if scope != self.used.scope:
            raise MadeElsewhere(
                "This plan was made by another replica of the gateway, or before it was restarted. Only there it is "
                f"known whether it was used already, for the replicas share no store. {_AGAIN} If that happens again, "
                "tell the gateway's operator to set sharedStore, or affinity at the balancer."
            )
        if int.from_bytes(expiry) <= self.clock():
            raise BadArgument(f"This plan has lapsed: it was valid for {LIFETIME // 60} minutes. {_AGAIN}")
        if not hmac.compare_digest(digests[2 * _PART :], met):
            raise Outdated(f"The cluster has changed since this plan was made. {_AGAIN}")
        return nonce

    async def use(self, nonce: bytes) -> None:
        """Let a checked plan be used, this once.

        Raises:
            BadArgument: It was used before.
            GatewayError: It can't be noted that it is used.
        """
        if not await self.used.first_use(nonce, LIFETIME):
            raise BadArgument(f"This plan was used already. {_AGAIN}")

    def _opened(self, plan: str) -> bytes:
        try:
            raw = urlsafe_b64decode(plan + "=" * (-len(plan) % 4)) if len(plan) < _LONGEST else b""
        except ValueError:
            raw = b""
        version, seal, content = raw[:1], raw[1 : 1 + _PART], raw[1 + _PART :]
        if (
            len(raw) != _LENGTH
            or version != _VERSION
            or not any(hmac.compare_digest(seal, _seal(key, content)) for key in self.keys.of("plan"))
        ):
            raise BadArgument(f"This is not a plan of this gateway, or it is damaged. {_AGAIN}")
        return content


def _seal(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, _VERSION + content, "sha256")[:_PART]
