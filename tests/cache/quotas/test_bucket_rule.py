"""The rule of a bucket, three times over: the script, ``app.core.limits`` and a model of its own.

The model counts units, in fractions, and shares nothing with the arithmetic of the other two. The
script runs with a clock of the test's: its text is the one that is shipped but for the two lines
that ask the store for the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, NamedTuple

import fakeredis
import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.core.limits import Bucket, give_back, level, take
from cache.store.base import script
from tests.cache.stores import server_of

CLOCK = """\
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 1000000 + tonumber(time[2])
"""
GIVEN = """\
local now = tonumber(ARGV[#ARGV])
"""
YEAR = 365 * 86400 * 1_000_000  # microseconds
SLACK = 1  # microsecond: the scripts round to a thousandth, the rule forgives half of one


def with_a_given_clock(name: str) -> str:
    text = script(name).text
    assert text.count(CLOCK) == 1
    assert text.count("'TIME'") == 1
    return text.replace(CLOCK, GIVEN)


class Model:
    """Units in a bucket, by the book."""

    def __init__(self, bucket: Bucket) -> None:
        self.rate = Fraction(bucket.per_minute, 60_000_000)  # units in a microsecond
        self.burst = bucket.burst
        self.units = Fraction(bucket.burst)

    def pass_time(self, microseconds: int) -> None:
        self.units = min(Fraction(self.burst), self.units + self.rate * microseconds)

    def wait(self, cost: int) -> Fraction | None:
        if cost > self.burst:
            return None
        return max(Fraction(0), (cost - self.units) / self.rate)

    def take(self, cost: int) -> None:
        self.units -= cost

    def give_back(self, units: int) -> None:
        self.units = min(Fraction(self.burst), self.units + units)


class Answer(NamedTuple):
    allowed: bool
    wait: float | None
    full_at: list[float]


class Scripts:
    """The shipped scripts on a store, with the clock of the test."""

    def __init__(self, client: redis.Redis, buckets: list[Bucket]) -> None:
        self._client = client
        self._admit = with_a_given_clock("admit")
        self._settle = with_a_given_clock("settle_limits")
        self._buckets = buckets
        self._keys = [f"{{t}}{place}" for place in range(len(buckets))]
        self._all = [*self._keys, "{t}index"]
        client.delete(*self._all)

    def admit(self, costs: list[int], now: int) -> Answer:
        args: list[Any] = ["lease", 1000, len(self._keys)]
        for bucket, cost in zip(self._buckets, costs, strict=True):
            args += [bucket.interval, bucket.burst, cost]
        answer: Any = self._client.eval(self._admit, len(self._all), *self._all, *args, now)
        allowed, wait, _, text, *full_at = answer
        assert int(text) == now
        return Answer(bool(allowed), None if wait < 0 else wait, list(map(float, full_at)))

    def settle(self, units: list[int], now: int) -> None:
        args: list[Any] = ["lease", len(self._keys)]
        for bucket, amount in zip(self._buckets, units, strict=True):
            args += [bucket.interval, amount]
        self._client.eval(self._settle, len(self._all), *self._all, *args, now)


class Rules:
    """The same by ``app.core.limits``, as a replica alone decides."""

    def __init__(self, buckets: list[Bucket]) -> None:
        self._buckets = buckets
        self._full_at = [0.0] * len(buckets)

    def admit(self, costs: list[int], now: int) -> Answer:
        taken = [
            take(bucket, full_at, now, cost)
            for bucket, full_at, cost in zip(self._buckets, self._full_at, costs, strict=True)
        ]
        waits = [wait for _, wait in taken]
        allowed = all(wait == 0 for wait in waits)
        if allowed:
            self._full_at = [full_at for full_at, _ in taken]
        known = [wait for wait in waits if wait is not None]
        return Answer(allowed, max(known) if len(known) == len(waits) else None, self._full_at)

    def settle(self, units: list[int], now: int) -> None:
        self._full_at = [
            give_back(bucket, full_at, now, amount)
            for bucket, full_at, amount in zip(self._buckets, self._full_at, units, strict=True)
        ]


buckets_of = st.lists(
    st.builds(
        Bucket,
        scope=st.just("key"),
        unit=st.just("tokens"),
        per_minute=st.one_of(st.integers(1, 100), st.integers(1, 10_000_000)),
        burst=st.one_of(st.integers(1, 10), st.integers(1, 1_000_000)),
    ),
    min_size=1,
    max_size=3,
)
fraction = st.floats(0, 1.1, allow_nan=False)
steps_of = st.lists(
    st.tuples(
        st.sampled_from(["admit", "admit", "settle", "wait", "wait exactly"]),
        st.lists(fraction, min_size=3, max_size=3),  # costs, as shares of each burst
        st.one_of(st.integers(0, 1000), st.integers(0, 120_000_000)),  # microseconds
    ),
    min_size=1,
    max_size=25,
)


def drive(decider: Scripts | Rules, buckets: list[Bucket], steps: Any, start: int) -> None:  # noqa: C901
    models = [Model(bucket) for bucket in buckets]
    now = start
    refused: list[int] | None = None

    def pass_time(microseconds: int) -> None:
        nonlocal now
        now += microseconds
        for model in models:
            model.pass_time(microseconds)

    def admit(costs: list[int]) -> Answer:
        nonlocal refused
        answer = decider.admit(costs, now)
        waits = [model.wait(cost) for model, cost in zip(models, costs, strict=True)]
        known = [wait for wait in waits if wait is not None]
        if len(known) < len(waits):
            assert not answer.allowed
            assert answer.wait is None
            return answer
        if answer.allowed:
            assert max(known) <= SLACK
            for model, cost in zip(models, costs, strict=True):
                model.take(cost)
        else:
            assert answer.wait is not None
            assert max(known) > 0
            assert abs(answer.wait - max(known)) <= SLACK + 1  # it is rounded up
            refused = costs
        check_levels(answer.full_at)
        return answer

    def check_levels(full_at: list[float]) -> None:
        for bucket, model, at in zip(buckets, models, full_at, strict=True):
            left = level(bucket, at, now)
            slack = float(model.rate) * SLACK + 1e-3
            assert abs(left.full_in - (model.burst - model.units) / model.rate) <= SLACK + 1
            assert left.remaining <= max(0, float(model.units)) + slack
            assert left.remaining > max(0, float(model.units)) - 1 - slack

    for action, shares, time in steps:
        amounts = [int(share * b.burst) for share, b in zip(shares, buckets, strict=False)]
        if action == "wait":
            pass_time(time)
        elif action == "admit":
            admit(amounts)
        elif action == "settle":
            units = [amount - time % (amount + 1) * 2 for amount in amounts]
            decider.settle(units, now)
            for model, amount in zip(models, units, strict=True):
                model.give_back(amount)
        elif refused is not None:
            costs, refused = refused, None
            answer = admit(costs)
            if not answer.allowed and answer.wait is not None:
                pass_time(-int(-answer.wait // 1))
                assert admit(costs).allowed


@contextmanager
def client_of(kind: str) -> Iterator[redis.Redis]:
    if kind == "memory":
        yield fakeredis.FakeRedis(server=fakeredis.FakeServer(), version=(7,))
        return
    with server_of(kind) as server:
        client = redis.Redis(port=server.port)
        try:
            yield client
        finally:
            client.close()


@pytest.mark.parametrize(("kind", "examples"), [("memory", 40), ("7", 100), ("8", 100)])
def test_the_script_decides_as_the_model_does(kind: str, examples: int) -> None:
    with client_of(kind) as client:

        @given(buckets=buckets_of, steps=steps_of, start=st.integers(0, 10 * YEAR))
        @settings(max_examples=examples, deadline=None)
        def drives(buckets: list[Bucket], steps: Any, start: int) -> None:
            drive(Scripts(client, buckets), buckets, steps, start)

        drives()


@given(buckets=buckets_of, steps=steps_of, start=st.integers(0, 10 * YEAR))
@example(
    buckets=[Bucket("key", "tokens", 7, 3)],
    steps=[("admit", [1.0] * 3, 0), ("admit", [1.0] * 3, 0), ("wait exactly", [0.0] * 3, 0)],
    start=0,
)
@settings(max_examples=200, deadline=None)
def test_a_replica_alone_decides_as_the_model_does(
    buckets: list[Bucket], steps: Any, start: int
) -> None:
    drive(Rules(buckets), buckets, steps, start)


@given(
    bucket=buckets_of.map(lambda buckets: buckets[0]),
    gaps=st.lists(st.integers(0, 30_000_000), max_size=40),
)
@settings(max_examples=100, deadline=None)
def test_no_window_lets_more_through_than_its_share_and_one_burst(
    bucket: Bucket, gaps: list[int]
) -> None:
    now, full_at = 0, 0.0
    passed: list[int] = []
    for gap in gaps:
        now += gap
        for _ in range(3):
            full_at, wait = take(bucket, full_at, now, 1)
            if wait == 0:
                passed.append(now)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            span = passed[last] - passed[first]
            most = bucket.burst + (span + SLACK) / bucket.interval
            assert last - first + 1 <= most + 1e-6
