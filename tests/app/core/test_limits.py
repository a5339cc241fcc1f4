"""What a bucket decides and how it is told, without a store. The rule itself is also held to a
model and to the script, in tests/cache/quotas/test_bucket_rule.py."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.limits import (
    Bucket,
    Decision,
    Level,
    duration_text,
    give_back,
    level,
    limit_headers,
    retry_headers,
    take,
)

KEY = Bucket("key:a", "requests", 60, 10)  # one a second
SECOND = 1_000_000

buckets = st.builds(
    Bucket,
    scope=st.just("key"),
    unit=st.just("tokens"),
    per_minute=st.integers(1, 10**8),
    burst=st.integers(1, 10**7),
)
times = st.integers(0, 10**15).map(float)


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (0, "0ms"),
        (1, "1ms"),
        (17_000, "17ms"),
        (17_001, "18ms"),
        (999_000, "999ms"),
        (999_001, "1s"),
        (SECOND, "1s"),
        (1_001_000, "1.001s"),
        (1_500_000, "1.5s"),
        (10 * SECOND, "10s"),
        (59_999_000, "59.999s"),
        (59_999_001, "1m0s"),
        (60 * SECOND, "1m0s"),
        (60_000_001, "1m1s"),
        (360 * SECOND, "6m0s"),
        (3_599_500_000, "1h0m0s"),
        (3600 * SECOND, "1h0m0s"),
        (3661 * SECOND, "1h1m1s"),
        (90_000 * SECOND, "25h0m0s"),
    ],
)
def test_a_time_is_written_as_openai_writes_it(microseconds: int, text: str) -> None:
    assert duration_text(microseconds) == text


@given(st.integers(0, 10**13))
def test_a_time_is_never_told_shorter_than_it_is(microseconds: int) -> None:
    text = duration_text(microseconds)
    units = {"h": 3_600_000_000, "m": 60_000_000, "s": SECOND, "ms": 1000}
    parts = re.findall(r"([\d.]+)(ms|[hms])", text)
    assert "".join(number + unit for number, unit in parts) == text
    told = sum(round(float(number) * units[unit]) for number, unit in parts)
    assert microseconds <= told < microseconds + (1000 if microseconds < 60 * SECOND else SECOND)


@given(st.integers(0, 10**13))
def test_whoever_retries_when_told_does_not_come_too_soon(wait: int) -> None:
    headers = dict(retry_headers(wait))
    assert wait <= int(headers[b"retry-after-ms"]) * 1000 < wait + 1000
    assert wait <= int(headers[b"retry-after"]) * SECOND < wait + SECOND


def test_headers_come_from_the_bucket_with_least_left() -> None:
    tokens = Bucket("tenant", "tokens", 600, 1000)
    wide = Bucket("tenant", "requests", 600, 100)
    decision = Decision(True, [Level(3, 7 * SECOND), Level(40, 6 * SECOND), Level(990, SECOND)])
    assert limit_headers([KEY, wide, tokens], decision) == [
        (b"x-ratelimit-limit-requests", b"10"),
        (b"x-ratelimit-remaining-requests", b"3"),
        (b"x-ratelimit-reset-requests", b"7s"),
        (b"x-ratelimit-limit-tokens", b"1000"),
        (b"x-ratelimit-remaining-tokens", b"990"),
        (b"x-ratelimit-reset-tokens", b"1s"),
    ]


def test_what_is_not_limited_has_no_header() -> None:
    assert limit_headers([], Decision(True)) == []
    names = [name for name, _ in limit_headers([KEY], Decision(True, [Level(1, 2)]))]
    assert all(name.endswith(b"-requests") for name in names)


def test_a_full_bucket_lets_its_burst_in_and_no_more() -> None:
    full_at, passed = 0.0, 0
    for _ in range(20):
        full_at, wait = take(KEY, full_at, 0.0, 1)
        passed += wait == 0
    assert passed == 10
    assert take(KEY, full_at, 0.0, 1) == (full_at, SECOND)
    assert take(KEY, full_at, 0.0, 3) == (full_at, 3 * SECOND)


def test_a_bucket_that_was_never_used_is_full() -> None:
    assert level(KEY, 0.0, 5.0 * SECOND) == Level(10, 0)


@given(buckets, times, times, st.integers(0, 10**7))
def test_taking_is_all_or_nothing(bucket: Bucket, full_at: float, now: float, cost: int) -> None:
    new, wait = take(bucket, full_at, now, cost)
    if cost > bucket.burst:
        assert wait is None
    if wait == 0:
        assert new == max(full_at, now) + cost * bucket.interval
    else:
        assert new == full_at


@given(buckets, times, st.integers(1, 10**7), st.integers(1, 10**7))
def test_after_exactly_the_wait_the_same_is_let_in(
    bucket: Bucket, now: float, first: int, second: int
) -> None:
    full_at, _ = take(bucket, 0.0, now, min(first, bucket.burst))
    cost = min(second, bucket.burst)
    full_at, wait = take(bucket, full_at, now, cost)
    assert wait is not None
    assert wait <= cost * bucket.interval + 1
    if wait:
        assert take(bucket, full_at, now + -(-wait // 1), cost)[1] == 0
        if wait > 2:
            assert take(bucket, full_at, now + wait - 2, cost)[1] != 0


@given(buckets, times, st.integers(0, 10**7), st.integers(0, 10**7))
def test_what_is_given_back_at_once_is_as_if_never_taken(
    bucket: Bucket, now: float, start: int, cost: int
) -> None:
    full_at = now + min(start, bucket.burst) * bucket.interval
    taken, wait = take(bucket, full_at, now, cost)
    if wait == 0:
        assert give_back(bucket, taken, now, cost) == pytest.approx(full_at, abs=0.5)


@given(buckets, times, times, st.integers(0, 10**7))
def test_what_is_given_back_never_fills_beyond_the_burst(
    bucket: Bucket, full_at: float, now: float, units: int
) -> None:
    after = give_back(bucket, full_at, now, units)
    assert level(bucket, after, now).remaining <= bucket.burst
    taken, wait = take(bucket, after, now, bucket.burst)
    if wait == 0:
        assert take(bucket, taken, now + 0.0, 1)[1] != 0 or bucket.interval < 1


@given(buckets, times, times)
def test_a_level_is_within_its_bucket(bucket: Bucket, full_at: float, now: float) -> None:
    left = level(bucket, full_at, now)
    assert 0 <= left.remaining <= bucket.burst
    assert left.full_in == max(0, int(full_at - now))


@given(buckets, times, st.integers(1, 10**7))
def test_what_remains_can_be_taken_and_one_more_cannot(
    bucket: Bucket, now: float, first: int
) -> None:
    full_at, _ = take(bucket, 0.0, now, min(first, bucket.burst))
    remaining = level(bucket, full_at, now).remaining
    assert take(bucket, full_at, now, remaining)[1] == 0
    if bucket.interval > 2:
        assert take(bucket, full_at, now, remaining + 1)[1] != 0
