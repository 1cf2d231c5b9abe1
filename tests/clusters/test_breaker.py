"""The breaker's decisions, each state told by its own word; time passes when a test says so."""

import asyncio
from contextlib import suppress

import pytest

from gateway.clusters.breaker import LONGEST_REST, Breaker, BreakerOpen
from gateway.errors import GatewayError
from gateway.kube.errors import Forbidden, InvalidToken, NotFound, ServerFault, Throttled, TooLarge, Unreachable
from tests.workbench import Clock

TIMEOUT = Unreachable("timeout", "it did not answer in time", sent=True)
REFUSED = Unreachable("connect", "nothing answers at its address", sent=False)


class Watched:
    """A breaker of three failures and ten seconds, whose rests are just as long as they say."""

    def __init__(self, failures: int = 3, *, random: float = 0.5) -> None:
        self.clock = Clock()
        self.breaker = Breaker("east [PROD]", failures, 10, clock=self.clock, random=lambda: random)

    def call(self, error: BaseException | None = None) -> None:
        """Make one call, which ends so."""
        with suppress(Unreachable, GatewayError, asyncio.CancelledError), self.breaker.passage():
            if error is not None:
                raise error

    def fail(self, times: int) -> None:
        """Make calls that get no answer."""
        for _ in range(times):
            self.call(TIMEOUT)

    @property
    def word(self) -> str:
        """How it stands."""
        return self.breaker.state().word

    def refusal(self) -> BreakerOpen:
        """Make a call that must be refused, before the line and after it."""
        with pytest.raises(BreakerOpen):
            self.breaker.check()
        with pytest.raises(BreakerOpen) as caught, self.breaker.passage():
            raise AssertionError
        return caught.value


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    """Fewer change nothing; then calls are refused in words that say since when, why, and when again."""
    watched = Watched()
    watched.call(TIMEOUT)
    watched.clock.forward(30)
    watched.call(TIMEOUT)
    assert repr(watched.breaker) == "<Breaker closed, 2 failures>"
    watched.breaker.check()
    watched.call(REFUSED)
    assert repr(watched.breaker) == "<Breaker open, 3 failures>"
    watched.clock.forward(1)
    refusal = watched.refusal()
    assert (refusal.retry_after, refusal.outcome) == (9, "breaker_open")
    assert refusal.message == (
        "Nothing was sent: cluster east [PROD] has not answered for 31 s (nothing answers at its address), and will "
        "be tried again in 9 s. Other clusters are not affected; tell a person if it lasts."
    )


@pytest.mark.parametrize(
    "answer",
    [
        None,
        InvalidToken(401, "Unauthorized", "Unauthorized"),
        Forbidden(403, "Forbidden", "no"),
        NotFound(404, "NotFound", "no"),
        Throttled(429, "TooManyRequests", "later", (), 1),
        ServerFault(500, "InternalError", "etcdserver: request timed out"),
        ServerFault(503, "ServiceUnavailable", "the metrics are away"),
        TooLarge(8 << 20),
    ],
)
def test_an_answer_of_any_status_says_that_the_cluster_lives(answer: GatewayError | None) -> None:
    """A failed object, a bad token or a huge list is not the cluster's death, and ends a row of failures."""
    watched = Watched()
    for _ in range(10):
        watched.fail(2)
        watched.call(answer)
    assert watched.word == "closed"


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GatewayError("other"), ZeroDivisionError()])
def test_what_ends_for_a_reason_of_the_callers_says_nothing(error: BaseException) -> None:
    """A cancelled call, or one whose own time is up, neither opens nor closes, nor ends a row of failures."""
    watched = Watched()
    for _ in range(10):
        with suppress(ZeroDivisionError):
            watched.call(error)
    assert watched.word == "closed"
    watched.fail(2)
    with suppress(ZeroDivisionError):
        watched.call(error)
    watched.fail(1)
    assert watched.word == "open"


def test_a_time_out_while_others_are_answered_is_not_the_clusters() -> None:
    """One object that hangs, such as those of a dead aggregated API, leaves the breaker alone if anything works."""
    watched = Watched()
    for _ in range(10):
        with suppress(Unreachable), watched.breaker.passage() as slow:
            watched.call()
            raise TIMEOUT
        assert not slow.silent
    assert watched.word == "closed"
    with suppress(Unreachable), watched.breaker.passage() as alone:
        raise TIMEOUT
    assert alone.silent


def test_after_the_rest_one_call_goes_through_and_its_answer_closes() -> None:
    """While it is tried the others are refused at once; its success lets all through again."""
    watched = Watched()
    watched.fail(3)
    watched.clock.forward(10)
    assert watched.word == "half-open"
    watched.breaker.check()
    with watched.breaker.passage():
        assert "is being tried again just now" in watched.refusal().message
    assert repr(watched.breaker) == "<Breaker closed, 0 failures>"
    watched.call()


def test_each_failed_trial_doubles_the_rest_up_to_a_minute() -> None:
    """A cluster that stays dead is asked ever less, and one that comes back is noticed within a minute."""
    watched = Watched()
    watched.fail(3)
    rests = []
    for _ in range(5):
        rest = watched.breaker.state().retry_in
        rests.append(rest)
        watched.clock.forward(rest)
        watched.call(TIMEOUT)
    assert rests == [10, 20, 40, LONGEST_REST, LONGEST_REST]
    watched.clock.forward(LONGEST_REST)
    watched.call()
    watched.fail(3)
    assert watched.breaker.state().retry_in == 10
    assert watched.breaker.state().opened == 2


@pytest.mark.parametrize(("random", "rest"), [(0.0, 8.0), (0.5, 10.0), (1.0, 12.0)])
def test_a_rest_is_a_fifth_shorter_or_longer(random: float, rest: float) -> None:
    """Gateways that saw a cluster die in one moment come back to it in different ones."""
    watched = Watched(random=random)
    watched.fail(3)
    assert watched.breaker.state().retry_in == pytest.approx(rest)


def test_a_trial_that_its_caller_gives_up_leaves_the_trial_to_the_next() -> None:
    """Nobody's cancellation keeps a cluster shut."""
    watched = Watched()
    watched.fail(3)
    watched.clock.forward(10)
    watched.call(asyncio.CancelledError())
    assert watched.word == "half-open"
    watched.call()
    assert watched.word == "closed"


def test_calls_that_were_under_way_when_it_opened_neither_lengthen_the_rest_nor_reopen_it() -> None:
    """Sixty-four time-outs of one moment are one death; one late answer among them is life."""
    watched = Watched()
    under_way = [watched.breaker.passage() for _ in range(8)]
    for passage in under_way:
        passage.__enter__()
    for passage in under_way[:5]:
        passage.__exit__(Unreachable, TIMEOUT, None)
    assert (watched.word, watched.breaker.state().retry_in, watched.breaker.state().opened) == ("open", 10, 1)
    under_way[5].__exit__(None, None, None)
    assert watched.word == "closed"
    for passage in under_way[6:]:
        passage.__exit__(Unreachable, TIMEOUT, None)
    assert repr(watched.breaker) == "<Breaker closed, 0 failures>"


def test_with_no_failures_set_it_never_opens() -> None:
    """An operator can do without it, and still sees what fails."""
    watched = Watched(failures=0)
    watched.fail(100)
    assert watched.word == "closed"
    assert watched.breaker.state().failures == 100


def test_its_state_says_what_failed_last_and_when() -> None:
    """The admin page shows why a cluster is left alone, and after it is back, what had been wrong."""
    watched = Watched()
    state = watched.breaker.state()
    assert (state.word, state.last_error, state.last_error_ago, state.failing_for) == ("closed", "", None, 0)
    watched.fail(2)
    watched.clock.forward(5)
    watched.call(REFUSED)
    watched.clock.forward(2)
    state = watched.breaker.state()
    assert (state.word, state.failures, state.failing_for, state.retry_in) == ("open", 3, 7, 8)
    assert (state.last_error, state.last_error_ago) == ("connect", 2)
    watched.clock.forward(8)
    watched.call()
    state = watched.breaker.state()
    assert (state.word, state.failures, state.failing_for, state.retry_in) == ("closed", 0, 0, 0)
    assert (state.last_error, state.last_error_ago) == ("connect", 10)
