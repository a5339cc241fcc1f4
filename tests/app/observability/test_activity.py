"""What a worker says of its requests: counts, times, and the few records that are shown."""

from __future__ import annotations

from typing import Any

import pytest

from app.observability import activity
from app.observability.activity import Activity, bucket_of, merged, quantile

NOW = 1_790_000_000.0


def record(**members: Any) -> dict[str, Any]:
    return {
        "request_id": "r",
        "tenant": "acme",
        "key": "web",
        "operation": "completions",
        "alias": "demo",
        "status": 200,
        "error": None,
        "cache": None,
        "first_byte_ms": 10.0,
        "gateway_ms": 1.0,
        **members,
    }


def test_requests_are_counted_by_second() -> None:
    seen = Activity()
    for at, status in ((0, 200), (0, 429), (1, 200)):
        seen.add(record(status=status), NOW + at)
    seen.take(NOW + 2)
    assert seen.pulse(NOW + 2)["seconds"] == [[int(NOW), 2, 1], [int(NOW) + 1, 1, 0]]
    assert seen.pulse(NOW + 120)["seconds"] == []


def test_failures_and_cache_results_are_counted_by_whom_and_what() -> None:
    seen = Activity()
    seen.add(record(status=401, error="invalid_api_key", tenant=None, key=None, alias=None), NOW)
    seen.add(record(alias="a|b", status=502, error="upstream_timeout"), NOW)
    seen.add(record(cache="hit", cache_layer="semantic"), NOW)
    assert seen.take(NOW).counts == {
        "error|401|invalid_api_key|||": 1,
        "error|502|upstream_timeout|acme|web|a|b": 1,
        "cache|hit|semantic|acme||demo": 1,
    }


def test_counts_stay_until_they_are_written() -> None:
    seen = Activity()
    seen.add(record(cache="hit"), NOW)
    first = seen.take(NOW)
    seen.add(record(cache="hit"), NOW)
    assert seen.take(NOW).counts == {"cache|hit||acme||demo": 2}
    seen.written(first)
    assert seen.take(NOW).counts == {"cache|hit||acme||demo": 1}


def test_of_many_records_those_that_failed_are_shown_first_and_then_the_newest() -> None:
    seen = Activity()
    for number in range(100):
        status = 500 if number < 3 else 200
        seen.add(record(request_id=str(number), status=status), NOW + number / 1000)
    shown = seen.take(NOW + 1)
    assert shown.requests == 100
    assert [int(one["request_id"]) for one in shown.listed] == [0, 1, 2, *range(53, 100)]


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "MAX_COUNTED", 10)
    seen = Activity()
    for number in range(activity.MAX_WAITING + 5):
        seen.add(record(status=500, error=f"code-{number}"), NOW)
    taken = seen.take(NOW)
    assert taken.requests == activity.MAX_WAITING
    assert len(taken.counts) == 10


def test_calls_of_the_gateway_itself_are_no_traffic() -> None:
    seen = Activity()
    for cache in ("shadow", "renewal"):
        seen.add(record(cache=cache), NOW)
    seen.take(NOW)
    assert seen.pulse(NOW)["seconds"] == []


@pytest.mark.parametrize("milliseconds", [0.2, 1.0, 42.0, 1_000.0, 90_000.0])
def test_a_quantile_is_off_by_a_tenth_at_most(milliseconds: float) -> None:
    found = quantile({bucket_of(milliseconds): 7}, 0.5)
    assert found == pytest.approx(milliseconds, rel=0.1)


def test_quantiles_of_several_workers_are_those_of_all_their_requests() -> None:
    quick, slow = str(bucket_of(1.0)), str(bucket_of(100.0))
    both = merged([{quick: 90}, {quick: 5, slow: 5}])
    assert quantile(both, 0.5) == pytest.approx(1.0, rel=0.1)
    assert quantile(both, 0.96) == pytest.approx(100.0, rel=0.1)
    assert quantile({}, 0.5) is None
