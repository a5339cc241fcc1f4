"""Windows of time in UTC: they tile it, whatever the machine's zone."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.budgets import Window, window

PERIODS = ("hour", "day", "week", "month")
moments = st.integers(0, 4_102_444_800)  # to the year 2100


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("per", "now", "name", "start", "end"),
    [
        ("hour", "2026-11-20T14:59:59", "2026-11-20T14", "2026-11-20T14:00", "2026-11-20T15:00"),
        ("hour", "2026-12-31T23:00:00", "2026-12-31T23", "2026-12-31T23:00", "2027-01-01"),
        ("day", "2028-02-29T12:00:00", "2028-02-29", "2028-02-29", "2028-03-01"),
        ("week", "2027-01-03T23:59:59", "2026-W53", "2026-12-28", "2027-01-04"),
        ("week", "2027-01-04T00:00:00", "2027-W01", "2027-01-04", "2027-01-11"),
        ("month", "2026-12-31T23:59:59", "2026-12", "2026-12-01", "2027-01-01"),
        ("month", "2028-02-01T00:00:00", "2028-02", "2028-02-01", "2028-03-01"),
        # Where clocks are put forward, or back, UTC's are not.
        ("day", "2026-03-29T02:30:00", "2026-03-29", "2026-03-29", "2026-03-30"),
        ("day", "2026-10-25T02:30:00", "2026-10-25", "2026-10-25", "2026-10-26"),
    ],
)
def test_the_window_of_a_moment(per: str, now: str, name: str, start: str, end: str) -> None:
    assert window(per, at(now)) == Window(name, at(start), at(end))


@pytest.mark.parametrize("per", PERIODS)
@given(now=moments)
def test_windows_tile_time(per: str, now: int) -> None:
    span = window(per, now)
    assert span.start <= now < span.end
    assert window(per, span.start) == window(per, span.end - 1) == span
    assert window(per, span.end).start == span.end
    assert window(per, span.end).name != span.name
    assert window(per, span.start - 1).end == span.start


@pytest.mark.parametrize(
    ("per", "lengths"),
    [
        ("hour", {3600}),
        ("day", {86400}),
        ("week", {7 * 86400}),
        ("month", {days * 86400 for days in (28, 29, 30, 31)}),
    ],
)
@given(now=moments)
def test_a_window_is_as_long_as_it_says(per: str, lengths: set[int], now: int) -> None:
    span = window(per, now)
    assert span.end - span.start in lengths


@given(now=moments, part=st.floats(0, 0.999))
def test_a_part_of_a_second_changes_nothing(now: int, part: float) -> None:
    assert [window(per, now + part) for per in PERIODS] == [window(per, now) for per in PERIODS]


@given(moments, moments)
def test_no_two_windows_share_a_name(first: int, second: int) -> None:
    for per in PERIODS:
        one, other = window(per, first), window(per, second)
        assert (one.name == other.name) == (one == other)


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Pacific/Kiritimati"])
def test_the_machine_may_stand_anywhere(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    now = at("2026-03-08T07:30:00")  # in New York, an hour is missing
    before = [window(per, now) for per in PERIODS]
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert [window(per, now) for per in PERIODS] == before
    finally:
        monkeypatch.undo()
        time.tzset()
