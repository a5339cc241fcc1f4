"""What follows a failure: every row of the table, the pause, and the budget of repeats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import (
    GatewayError,
    InvalidRequest,
    NotImplementedHere,
    Unavailable,
    UpstreamAuth,
    UpstreamInvalid,
    UpstreamNotConnected,
    UpstreamNotFound,
    UpstreamPoolFull,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from app.providers.client.failures import refusal
from app.providers.routing.retry import (
    AUTH_SECONDS,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MAX_CALLS,
    Failure,
    Kind,
    RetryBudget,
    Rules,
    So,
    Verdict,
    after,
    failure_of,
    pause,
    verdict,
)


def answered(status: int, body: bytes = b"", **headers: bytes) -> Failure:
    """The failure in an upstream's answer."""
    named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return failure_of(refusal(status, named, body, ()))


def of_code(code: str, status: int = 400) -> Failure:
    return answered(status, b'{"error": {"message": "no", "code": "%b"}}' % code.encode())


def follows(
    failure: Failure,
    *,
    repeats: int = 0,
    calls: int = 1,
    untried: int = 1,
    rules: Rules | None = None,
) -> So:
    return after(
        failure,
        repeats=repeats,
        calls_left=MAX_CALLS - calls,
        untried=untried,
        rules=rules or Rules(),
        chance=0.5,
    )


COUNTS = Verdict(counts=True)
NOTHING = Verdict()
CONNECTION = [
    failure_of(UpstreamUnreachable("refused")),
    failure_of(UpstreamNotConnected("late")),
]
TRANSIENT = [
    *(answered(status) for status in (408, 409, 425, 500, 502, 504, 520, 204)),
    failure_of(UpstreamInvalid("not JSON")),
]
BUSY = [answered(503), answered(529)]


@pytest.mark.parametrize("failure", CONNECTION, ids=str)
def test_what_broke_before_a_byte_is_tried_again_at_once(failure: Failure) -> None:
    assert follows(failure) == So("again", 0.0)
    assert follows(failure, repeats=1, calls=2) == So("next")
    assert verdict(failure) == COUNTS


@pytest.mark.parametrize("failure", TRANSIENT, ids=str)
def test_a_passing_failure_is_tried_again_after_a_pause(failure: Failure) -> None:
    assert follows(failure) == So("again", FIRST_PAUSE / 2)
    assert follows(failure, repeats=1, calls=2) == So("next")
    assert verdict(failure) == COUNTS


@pytest.mark.parametrize("failure", [*BUSY, answered(429)], ids=str)
def test_who_is_busy_is_left_at_once_also_without_a_retry_after(failure: Failure) -> None:
    assert follows(failure) == So("next")
    assert follows(failure, untried=0) == So("stop")


@pytest.mark.parametrize("status", [429, 503, 529])
@pytest.mark.parametrize(("told", "wait"), [(b"0", 0.0), (b"2", 2.0), (b"5", 5.0)])
def test_who_is_busy_and_alone_is_asked_again_when_it_says(
    status: int, told: bytes, wait: float
) -> None:
    so = follows(answered(status, retry_after=told), untried=0)
    assert so.do == "again"
    assert wait <= so.wait <= wait + FIRST_PAUSE


@pytest.mark.parametrize("status", [429, 503, 529, 500])
def test_nobody_waits_for_more_than_five_seconds(status: int) -> None:
    failure = answered(status, retry_after=b"6")
    assert follows(failure, untried=0) == So("stop")
    assert follows(failure) == So("next")


def test_a_429_rests_its_target_for_as_long_as_it_says_or_a_second() -> None:
    assert verdict(answered(429)) == Verdict(rests=1.0)
    assert verdict(answered(429, retry_after=b"20")) == Verdict(rests=20.0)
    assert verdict(answered(429, retry_after=b"86400")).rests == 300.0


@pytest.mark.parametrize("failure", BUSY, ids=str)
def test_an_overloaded_target_counts_for_its_breaker(failure: Failure) -> None:
    assert verdict(failure) == COUNTS


def test_our_own_bound_on_connections_is_not_the_targets_fault() -> None:
    failure = failure_of(UpstreamPoolFull("all busy"))
    assert (failure.kind, verdict(failure)) == (Kind.BUSY, NOTHING)


def test_after_a_timeout_the_next_is_asked_unless_the_model_says_otherwise() -> None:
    failure = failure_of(UpstreamTimeout("late"))
    assert follows(failure) == So("next")
    assert follows(failure, rules=Rules(on_timeout="fail")) == So("stop")
    assert follows(failure, untried=0) == So("stop")
    assert verdict(failure) == COUNTS


@pytest.mark.parametrize(
    "failure",
    [
        *(answered(status) for status in (401, 402, 403, 407)),
        answered(404, b'{"error": {"message": "The model `m` does not exist", "code": "x"}}'),
        answered(404),
        of_code("insufficient_quota", 429),
        failure_of(UpstreamAuth("no")),
        failure_of(UpstreamNotFound("no")),
    ],
    ids=str,
)
def test_who_refuses_our_credentials_or_has_no_such_model_is_left_alone(failure: Failure) -> None:
    assert follows(failure) == So("next")
    assert follows(failure, untried=0) == So("stop")
    assert verdict(failure) == Verdict(opens=AUTH_SECONDS)


def test_what_is_too_long_goes_to_a_larger_context_only() -> None:
    failure = of_code("context_length_exceeded")
    assert follows(failure) == So("next", larger=True)
    assert verdict(failure) == NOTHING


def test_what_the_provider_filters_goes_on_only_where_the_model_says_so() -> None:
    failure = of_code("content_filter")
    assert follows(failure) == So("stop")
    assert follows(failure, rules=Rules(on_content_filter="next")) == So("next")
    assert verdict(failure) == NOTHING


@pytest.mark.parametrize("status", [400, 413, 415, 418, 422])
def test_what_every_target_would_refuse_goes_nowhere(status: int) -> None:
    assert follows(answered(status)) == So("stop")
    assert verdict(answered(status)) == NOTHING


@pytest.mark.parametrize(
    "failure",
    [
        answered(501),
        answered(301),
        failure_of(InvalidRequest("no logprobs here"), sent=False),
        failure_of(NotImplementedHere("no"), sent=False),
    ],
    ids=str,
)
def test_what_a_target_cannot_do_goes_to_the_next(failure: Failure) -> None:
    assert follows(failure) == So("next")
    assert verdict(failure) == NOTHING


@pytest.mark.parametrize(
    "error", [InvalidRequest("no"), Unavailable("no"), GatewayError("a limit of ours")]
)
def test_our_own_refusals_go_nowhere(error: GatewayError) -> None:
    assert follows(failure_of(error)) == So("stop")
    assert verdict(failure_of(error)) == NOTHING


def test_an_answer_too_large_for_us_is_not_asked_for_again() -> None:
    assert follows(failure_of(UpstreamInvalid("too large", retryable=False))) == So("stop")


def test_a_target_is_repeated_only_while_a_call_is_left_for_each_untried_one() -> None:
    failure = answered(500)
    # Of a, b and c each is asked once: a call for c must be left.
    assert follows(failure, calls=1, untried=2) == So("next")
    assert follows(failure, calls=2, untried=1) == So("next")
    assert follows(failure, calls=3, untried=0) == So("stop")
    # Of a and b, a may be asked twice.
    assert follows(failure, calls=1, untried=1).do == "again"
    assert follows(failure, calls=2, untried=0).do == "again"


@given(
    calls=st.integers(1, MAX_CALLS),
    untried=st.integers(0, 16),
    repeats=st.integers(0, 2),
    failure=st.sampled_from([*CONNECTION, *TRANSIENT, *BUSY, answered(401), answered(400)]),
)
def test_there_are_never_more_than_three_calls(
    calls: int, untried: int, repeats: int, failure: Failure
) -> None:
    so = follows(failure, repeats=repeats, calls=calls, untried=untried)
    assert so.do == "stop" or calls < MAX_CALLS


@given(st.integers(0, 20), st.floats(0, 1))
def test_a_pause_doubles_up_to_eight_seconds_with_full_jitter(repeat: int, chance: float) -> None:
    assert 0 <= pause(repeat, None, chance) <= min(LONGEST_PAUSE, FIRST_PAUSE * 2**repeat)


@given(st.integers(0, 20), st.floats(0, 5), st.floats(0, 1))
def test_a_pause_is_at_least_as_long_as_told(repeat: int, told: float, chance: float) -> None:
    assert told <= pause(repeat, told, chance) <= told + FIRST_PAUSE


@pytest.mark.parametrize(
    ("failure", "statuses"),
    [
        (answered(500), {500}),
        (failure_of(UpstreamTimeout("late")), {408, 504}),
        (failure_of(UpstreamUnreachable("gone")), {502, 503}),
        (failure_of(UpstreamInvalid("rubbish")), {502, 503}),
    ],
)
def test_a_list_of_codes_names_a_failure_by_these(failure: Failure, statuses: set[int]) -> None:
    assert failure.statuses == statuses


# The budget of repeats


def test_repeats_are_a_fifth_of_the_calls_and_three() -> None:
    budget = RetryBudget()
    for _ in range(200):
        budget.called(100.0)
    assert sum(budget.take(100.5) for _ in range(200)) == 43


def test_three_repeats_are_allowed_to_a_quiet_provider() -> None:
    budget = RetryBudget()
    budget.called(5.0)
    assert [budget.take(5.0) for _ in range(5)] == [True, True, True, False, False]


def test_what_is_ten_seconds_old_does_not_count() -> None:
    budget = RetryBudget()
    for _ in range(100):
        budget.called(0.0)
    assert sum(budget.take(9.9) for _ in range(100)) == 23
    assert sum(budget.take(10.5) for _ in range(100)) == 0  # the repeats are newer than the calls
    assert sum(budget.take(19.9) for _ in range(100)) == 3


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=200))
def test_in_no_ten_seconds_are_there_more(events: list[tuple[float, bool]]) -> None:
    budget = RetryBudget()
    calls: list[int] = []
    repeats: list[int] = []
    for now, repeat in sorted(events):
        if not repeat:
            budget.called(now)
            calls.append(int(now))
        elif budget.take(now):
            repeats.append(int(now))
            recent = [one for one in repeats if one > int(now) - 10]
            asked = [one for one in calls if one > int(now) - 10]
            assert len(recent) <= 0.2 * len(asked) + 3
