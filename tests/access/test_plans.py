import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace

import pytest

from gateway.access.plans import LIFETIME, Binding, MadeElsewhere, Outdated, Plans, UsedInMemory
from gateway.access.sealing import SealingKeys
from gateway.clusters.pool import ClusterKey
from gateway.errors import BadArgument, GatewayError
from gateway.identity.principal import Principal
from tests.workbench import Clock

WHO = Principal(
    issuer="https://kubernetes.default.svc",
    subject="system:serviceaccount:demo:mcp",
    cluster="east",
    cluster_url="https://east.example:6443",
    cluster_key=ClusterKey("https://east.example:6443", "", ""),
    token_digest="0" * 64,
    expires_at=5000.0,
    token_id="",
)
PLAN = (
    "AfreAdomuBaNRK3ULdJxE_YdZo18vxmFIbktldD08wJmAAAABkBob3N0R1jV"
    "QjdAZuZG9xX3F5cr8Q6xUrrjuqXB9eReIM1UCZWV8BWGX3wnSFDQlfd42gyW"
)
"""Of format 1, under the key 00 01 … 1f."""
BINDING = Binding(WHO, "resource_apply", asked='{"a":1}', met='["uid",{}]')


def plans(clock: Clock, *keys: bytes) -> Plans:
    """Return plans with a memory of their own."""
    return Plans(SealingKeys(keys or [b"k" * 32]), UsedInMemory(clock), clock)


async def test_a_plan_is_good_once() -> None:
    """Who presents it for just what it was made for may act, and never again with it."""
    made = plans(Clock())
    plan = made.make(BINDING)
    assert len(plan.encode()) < 400
    await made.use(made.check(plan, BINDING))
    nonce = made.check(plan, BINDING)
    with pytest.raises(BadArgument, match="used already"):
        await made.use(nonce)


async def test_of_two_at_once_one_acts() -> None:
    """Two calls that present one plan at the same moment can't both act."""
    made = plans(Clock())
    nonce = made.check(made.make(BINDING), BINDING)
    results = await asyncio.gather(made.use(nonce), made.use(nonce), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), BadArgument]


def test_plans_for_the_same_are_different() -> None:
    """Each plan is used by itself: asking twice gives two."""
    made = plans(Clock())
    assert made.make(BINDING) != made.make(BINDING)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(BINDING, principal=replace(WHO, subject="system:serviceaccount:demo:other")), "another caller"),
        (replace(BINDING, principal=replace(WHO, issuer="https://other")), "another caller"),
        (replace(BINDING, principal=replace(WHO, cluster_url="https://west.example:6443")), "another cluster"),
        (replace(BINDING, tool="resource_delete"), "another request"),
        (replace(BINDING, asked='{"a":2}'), "another request"),
        (replace(BINDING, met='["other",{}]'), "changed since"),
    ],
)
def test_a_plan_is_for_nothing_else(other: Binding, words: str) -> None:
    """Another caller, cluster, tool or request, or a cluster that changed, each gets words of its own."""
    made = plans(Clock())
    with pytest.raises(BadArgument, match=words) as caught:
        made.check(made.make(BINDING), other)
    assert isinstance(caught.value, Outdated) == ("changed" in words)


def test_a_renewed_token_may_use_it() -> None:
    """A plan belongs to the principal, whatever token they come with."""
    made = plans(Clock())
    renewed = replace(WHO, token_digest="1" * 64, expires_at=9000.0, token_id="x")
    assert made.check(made.make(BINDING), replace(BINDING, principal=renewed))


def test_a_plan_lapses() -> None:
    """After ten minutes it is worth nothing."""
    clock = Clock()
    made = plans(clock)
    plan = made.make(BINDING)
    clock.forward(LIFETIME - 1)
    assert made.check(plan, BINDING)
    clock.forward(1)
    with pytest.raises(BadArgument, match="lapsed"):
        made.check(plan, BINDING)


@pytest.mark.parametrize("damage", ["", "yes", "ä", "A" * 5000, "=", "!!!", " "])
def test_what_is_no_plan_is_refused(damage: str) -> None:
    """Whatever else comes as a plan is refused in the same words."""
    with pytest.raises(BadArgument, match="not a plan of this gateway"):
        plans(Clock()).check(damage, BINDING)


def test_no_changed_plan_is_taken() -> None:
    """Changing any character of a plan makes it worthless."""
    made = plans(Clock())
    plan = made.make(BINDING)
    for index, character in enumerate(plan[:-1]):
        with pytest.raises(BadArgument, match="damaged"):
            made.check(plan[:index] + ("A" if character != "A" else "B") + plan[index + 1 :], BINDING)


def test_keys_can_be_rotated() -> None:
    """What was sealed under an older key of the ring is good, under an unknown key it is not."""
    old, new = b"o" * 32, b"n" * 32
    made = plans(Clock(), old)
    plan = made.make(BINDING)
    assert replace(made, keys=SealingKeys([new, old])).check(plan, BINDING)
    with pytest.raises(BadArgument, match="damaged"):
        replace(made, keys=SealingKeys([new])).check(plan, BINDING)


def test_a_plan_is_used_only_where_it_is_known_whether_it_was() -> None:
    """Replicas with one key and no shared store, or one process before and after a restart, say why they refuse."""
    plan = plans(Clock()).make(BINDING)
    with pytest.raises(MadeElsewhere, match="made by another replica"):
        plans(Clock()).check(plan, BINDING)


def test_no_plan_of_another_version_is_taken_for_one_of_this() -> None:
    """The first byte is the format's version, and sealed with the rest."""
    made = plans(Clock())
    raw = urlsafe_b64decode(made.make(BINDING))
    assert raw[0] == 1
    with pytest.raises(BadArgument, match="not a plan of this gateway"):
        made.check(urlsafe_b64encode(b"\x02" + raw[1:]).decode(), BINDING)


async def test_memory_is_bounded_and_forgets_nothing_that_counts() -> None:
    """When full it makes room by what has lapsed, and else refuses rather than forget a plan that could come again."""
    clock = Clock()
    used = UsedInMemory(clock, entries=2)
    assert await used.first_use(b"a", 10)
    assert await used.first_use(b"b", 20)
    with pytest.raises(GatewayError, match="Try again in a minute"):
        await used.first_use(b"c", 10)
    clock.forward(11)
    assert await used.first_use(b"c", 10)
    assert not await used.first_use(b"b", 10)


def test_a_plan_of_an_earlier_release_is_good() -> None:
    """Two versions serve side by side during a rollout: another format has another first byte, and this one stays."""
    used = UsedInMemory(Clock())
    used.scope = b"host"
    made = Plans(SealingKeys([bytes(range(32))]), used, Clock())
    assert made.check(PLAN, BINDING)
