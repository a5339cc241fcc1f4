"""What a replica lets in while it is alone: its share, by the same rule, on a clock that is moved."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.limits import Bucket, Decision, Slots
from cache.quotas import local_limits
from cache.quotas.local_limits import LocalLimits

KEYS = ["bucket", "slots"]


class Clock:
    def __init__(self) -> None:
        self.microseconds = 1_000_000

    def __call__(self) -> float:
        return self.microseconds / 1e6


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(local_limits, "monotonic", clock)
    return clock


def ask(limits: LocalLimits, bucket: Bucket, cost: int = 1, lease: str = "l") -> Decision:
    return limits.admit([bucket], [], ["bucket"], lease, cost)


def count(limits: LocalLimits, bucket: Bucket, times: int, cost: int = 1) -> int:
    return sum(ask(limits, bucket, cost).allowed for _ in range(times))


def test_a_request_of_several_calls_takes_several_requests(clock: Clock) -> None:
    limits = LocalLimits()
    buckets = [Bucket("key:a", "requests", 60, 10), Bucket("key:a", "tokens", 60, 10)]
    asked = [
        limits.admit(buckets, [], ["r", "t"], "l", 1, requests=calls).allowed
        for calls in (7, 4, 3, 1)
    ]
    assert asked == [True, False, True, False]


@pytest.mark.parametrize(("replicas", "share"), [(1, 100), (2, 50), (3, 33), (4, 25), (200, 1)])
def test_each_replica_lets_in_its_share(clock: Clock, replicas: int, share: int) -> None:
    limits = LocalLimits()
    limits.replicas = replicas
    assert count(limits, Bucket("key:a", "requests", 60, 100), 200) == share


def test_a_share_refills_at_its_share_of_the_rate(clock: Clock) -> None:
    limits = LocalLimits()
    limits.replicas = 4
    bucket = Bucket("key:a", "requests", 240, 4)  # one each second for each of the four
    assert count(limits, bucket, 10) == 1
    clock.microseconds += 999_000
    assert count(limits, bucket, 10) == 0
    clock.microseconds += 1_000
    assert count(limits, bucket, 10) == 1


def test_a_request_that_the_whole_limit_bears_is_not_locked_out_by_a_share(clock: Clock) -> None:
    limits = LocalLimits()
    limits.replicas = 10
    bucket = Bucket("key:a", "tokens", 600, 1000)
    assert ask(limits, bucket, 1000).allowed
    refused = ask(limits, bucket, 1000)
    assert not refused.allowed
    assert refused.wait == 1_000_000_000
    assert ask(limits, bucket, 1001).wait is None


def test_a_decision_says_that_it_is_local(clock: Clock) -> None:
    assert ask(LocalLimits(), Bucket("key:a", "requests", 60, 1)).local


def test_slots_are_shared_and_freed(clock: Clock) -> None:
    limits = LocalLimits()
    limits.replicas = 2
    slots = [Slots("key:a", 4)]
    asked = [limits.admit([], slots, ["slots"], str(lease), 1) for lease in range(5)]
    assert [decision.allowed for decision in asked] == [True, True, False, False, False]
    assert asked[2].refused_by == ("key:a", "concurrent")
    limits.settle([], ["slots"], slots, "0", 0)
    limits.settle([], ["slots"], slots, "0", 0)
    asked = [limits.admit([], slots, ["slots"], str(lease), 1) for lease in range(5, 8)]
    assert [decision.allowed for decision in asked] == [True, False, False]


def test_what_is_refused_consumes_nothing(clock: Clock) -> None:
    limits = LocalLimits()
    wide, narrow = Bucket("key:a", "requests", 6, 10), Bucket("tenant", "requests", 6, 2)
    for _ in range(9):
        limits.admit([wide, narrow], [], ["wide", "narrow"], "l", 1)
    left = limits.admit([wide], [], ["wide"], "l", 1).levels[0]
    assert left.remaining == 7


def test_tokens_are_given_back(clock: Clock) -> None:
    limits = LocalLimits()
    bucket = Bucket("key:a", "tokens", 6, 100)
    ask(limits, bucket, 100)
    limits.settle([bucket], ["bucket"], [], "l", 40)
    assert not ask(limits, bucket, 41).allowed
    assert ask(limits, bucket, 40).allowed


def test_memory_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_limits, "MAX_BUCKETS", 100)
    limits = LocalLimits()
    bucket = Bucket("key:a", "requests", 60_000, 5)
    for number in range(1000):
        limits.admit([bucket], [], [f"bucket{number}"], "l", 1)
        clock.microseconds += 1000
    assert len(limits._full_at) <= 102


@given(
    per_minute=st.integers(1, 1_000_000),
    burst=st.integers(1, 1000),
    replicas=st.integers(1, 8),
    gaps=st.lists(st.integers(0, 2_000_000), min_size=1, max_size=20),
    cost=st.integers(1, 1000),
)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whoever_waits_exactly_so_long_is_let_in(
    monkeypatch: pytest.MonkeyPatch,
    per_minute: int,
    burst: int,
    replicas: int,
    gaps: list[int],
    cost: int,
) -> None:
    clock = Clock()
    monkeypatch.setattr(local_limits, "monotonic", clock)
    limits = LocalLimits()
    limits.replicas = replicas
    bucket = Bucket("key:a", "tokens", per_minute, burst)
    for gap in gaps:
        clock.microseconds += gap
        decision = ask(limits, bucket, cost)
        if decision.wait is None:
            assert cost > burst
        elif not decision.allowed:
            clock.microseconds += decision.wait
            assert ask(limits, bucket, cost).allowed


def test_who_was_admitted_by_the_store_and_still_runs_counts() -> None:
    slots = (Slots("key:k", 2),)
    local = LocalLimits()
    running = {"slots": {"one", "two"}}
    assert not local.admit((), slots, ("slots",), "three", 0, running).allowed
    assert local.admit((), slots, ("slots",), "three", 0, {"slots": {"one"}}).allowed
