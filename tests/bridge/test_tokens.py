"""Tokens are minted once for all who wait, renewed before they run out, and kept where renewing fails."""

import asyncio
import time

import jwt
import pytest

from gateway.bridge.tokens import Tokens
from gateway.errors import GatewayError

KEY = "a key that signs nothing of value, and is long enough"


class Mint:
    """Mints tokens of some lifetime by its own clock, which may be wrong by `skew` seconds."""

    def __init__(self, *, seconds: float = 100, skew: float = 0) -> None:
        self.now = time.time()
        self.made = 0
        self.fails = False
        self._seconds = seconds
        self._skew = skew

    async def __call__(self) -> str:
        """Mint one, or fail."""
        await asyncio.sleep(0)
        if self.fails:
            raise GatewayError("the API server is away.")
        self.made += 1
        issued = self.now + self._skew
        return jwt.encode({"iat": issued, "exp": issued + self._seconds, "jti": str(self.made)}, KEY, "HS256")

    def clock(self) -> float:
        """Return the time here."""
        return self.now

    def tokens(self) -> Tokens:
        """Return what holds these tokens."""
        return Tokens("east", self, clock=self.clock)


async def test_one_token_serves_all_who_ask_at_once() -> None:
    """A crowd of first calls must cause one TokenRequest."""
    mint = Mint()
    tokens = mint.tokens()
    assert len({*await asyncio.gather(*(tokens.valid() for _ in range(9)))}) == 1
    assert mint.made == 1


@pytest.mark.parametrize("skew", [0, 3600, -3600], ids=["right", "ahead", "behind"])
async def test_it_is_renewed_at_four_fifths_of_its_life(skew: float) -> None:
    """An hour's difference between the clocks must not change when a token is replaced."""
    mint = Mint(seconds=36_000, skew=skew)
    tokens = mint.tokens()
    first = await tokens.valid()
    mint.now += 28_700
    assert await tokens.valid() == first
    mint.now += 101
    assert await tokens.valid() != first


async def test_a_token_from_a_store_is_judged_by_what_is_left() -> None:
    """A command may print a token that is old already: what counts is its end, not when it was fetched."""
    mint = Mint(seconds=1000, skew=-900)
    tokens = mint.tokens()
    first = await tokens.valid()
    mint.now += 79
    assert await tokens.valid() == first
    mint.now += 2
    assert await tokens.valid() != first


async def test_a_failed_renewal_hurts_when_the_old_token_has_run_out() -> None:
    """Until then the old one serves, and not every call tries again; afterwards the reason is told."""
    mint = Mint()
    tokens = mint.tokens()
    first = await tokens.valid()
    mint.fails = True
    mint.now += 85
    assert await tokens.valid() == first
    mint.fails = False
    assert await tokens.valid() == first
    mint.fails = True
    mint.now += 16
    with pytest.raises(GatewayError, match="no token for cluster east: the API server is away"):
        await tokens.valid()
    mint.fails = False
    assert await tokens.valid() != first


async def test_a_refused_token_is_replaced_once_and_a_new_one_is_believed() -> None:
    """All who were refused with one token share its replacement; one that was just minted has none that is better."""
    mint = Mint()
    tokens = mint.tokens()
    first = await tokens.valid()
    assert await tokens.instead_of(first) is None
    mint.now += 30
    others = {*await asyncio.gather(*(tokens.instead_of(first) for _ in range(3)))}
    assert len(others) == 1
    assert others == {await tokens.valid()}
    assert mint.made == 2


async def test_minting_goes_on_when_whoever_asked_gives_up() -> None:
    """A person may be signing in for it: a client that waits no longer must not end that, nor have it begin anew."""
    signed_in = asyncio.Event()
    asked = 0

    async def mint() -> str:
        nonlocal asked
        asked += 1
        await signed_in.wait()
        return "a token"

    tokens = Tokens("east", mint)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await tokens.valid()
    second = asyncio.create_task(tokens.valid())
    signed_in.set()
    assert await second == "a token"
    assert asked == 1
    await tokens.close()


async def test_no_token_stands_in_a_repr() -> None:
    """Whatever prints the object must not print the token."""
    tokens = Mint().tokens()
    token = await tokens.valid()
    assert token not in repr(tokens) + repr(vars(tokens))
