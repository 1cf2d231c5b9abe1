import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.continuation import Continuation
from gateway.access.sealing import SealingKeys
from gateway.errors import BadArgument

SEALS = Continuation(SealingKeys())
BOUND = ("https://east.example", "issuer", "alice", "", "v1", "pods", "demo", "", "")


@given(token=st.text(min_size=1, max_size=200), binding=st.lists(st.text(max_size=10), max_size=4))
def test_a_sealed_token_opens_where_it_came_from(token: str, binding: list[str]) -> None:
    """Whatever the API server hands out comes back as it was, and what goes to the agent is plain ASCII."""
    sealed = SEALS.seal(token, *binding)
    assert sealed.isascii()
    assert sealed.isprintable()
    assert SEALS.open(sealed, *binding) == token


def test_no_token_stays_none() -> None:
    """The last page has nothing to continue with."""
    assert not SEALS.seal("", *BOUND)


@pytest.mark.parametrize("position", range(len(BOUND)))
def test_another_list_caller_or_cluster_can_not_use_it(position: int) -> None:
    """Every part of the binding counts, because an API server would take the token on any list."""
    sealed = SEALS.seal("token", *BOUND)
    others = [*BOUND]
    others[position] += "x"
    with pytest.raises(BadArgument, match="another list"):
        SEALS.open(sealed, *others)


def test_parts_can_not_be_pushed_from_one_place_to_the_next() -> None:
    """Namespace `a` with label `bc` is another list than `ab` with `c`, and no list is one with an empty part more."""
    sealed = SEALS.seal("token", "a", "bc")
    for others in (("ab", "c"), ("abc",), ("a", "bc", ""), ("abc", "")):
        with pytest.raises(BadArgument):
            SEALS.open(sealed, *others)


def test_another_process_key_does_not_open_it() -> None:
    """After a restart the agent is told to list again."""
    with pytest.raises(BadArgument, match="List again without it"):
        Continuation(SealingKeys()).open(SEALS.seal("token", *BOUND), *BOUND)


@given(sealed=st.one_of(st.text(max_size=60), st.binary(max_size=60).map(bytes.hex), st.just("A" * 5000)))
def test_whatever_an_agent_makes_up_is_refused(sealed: str) -> None:
    """Nothing that was not sealed here opens, and nothing else is raised."""
    with pytest.raises(BadArgument):
        SEALS.open(sealed, *BOUND)


@pytest.mark.parametrize("text", ["~", "~A", "~####", "~" + "gICA", "\ud800", "ü", ""])
def test_what_can_not_even_be_read_is_refused(text: str) -> None:
    """Neither base64 that is none nor text that can't be encoded raises anything else."""
    with pytest.raises(BadArgument):
        SEALS.open("1" + "A" * 16 + text, *BOUND)


def test_a_plain_token_costs_an_agent_seventeen_characters_more() -> None:
    """Kubernetes' own are plain text, and every character is one that a model has to write out again."""
    token = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MTQzfQ"
    sealed = SEALS.seal(token, *BOUND)
    assert sealed.endswith(token)
    assert len(sealed) == len(token) + 17


@given(at=st.integers(0, 200), to=st.sampled_from("Aaz09-_"))
def test_a_token_with_a_changed_letter_is_refused(at: int, to: str) -> None:
    """Neither the seal nor what it holds can be edited."""
    sealed = SEALS.seal("x" * 100, *BOUND)
    at %= len(sealed) - 1  # the last letter has bits that mean nothing
    changed = sealed[:at] + to + sealed[at + 1 :]
    if changed != sealed:
        with pytest.raises(BadArgument):
            SEALS.open(changed, *BOUND)


def test_a_token_of_an_earlier_release_opens() -> None:
    """Two versions serve side by side during a rollout: who changes the format changes its first letter."""
    keys = SealingKeys([bytes(range(32))])
    sealed = "1UaisGKnAqMpe9qdStoken"
    assert Continuation(keys).open(sealed, *BOUND) == "token"
