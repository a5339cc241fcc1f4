"""One request as the cache sees it: what is known of its answers, and what is still to be asked."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.core.errors import (
    GatewayError,
    InvalidRequest,
    Unavailable,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)
from app.openai.completions.request import DEFAULT_MAX_TOKENS
from tests.cache.serving.serving import entry_of, lookup_of, plan_of
from tests.harness.chain import call_of, header_of

NOW = 1_000_000


def batch(*prompts: str, **members: Any) -> Any:
    return lookup_of(call_of(prompt=list(prompts), **members))


# What was found


def test_before_anything_was_looked_up_every_prompt_is_missing() -> None:
    lookup = batch("a", "b")
    assert (lookup.missing, lookup.partial, lookup.known) == ([0, 1], False, {})


def test_what_has_a_fresh_entry_is_known_and_the_rest_is_missing() -> None:
    lookup = batch("a", "b", "c")
    fresh, stale = entry_of("fresh", NOW), entry_of("stale", NOW, age=10, fresh=5)
    lookup.found(NOW, [stale, fresh, None])
    assert (lookup.missing, lookup.partial) == ([0, 2], True)
    assert lookup.fresh == {1: fresh}
    assert lookup.known == {1: fresh.body}


@pytest.mark.parametrize(("age", "fresh"), [(0, True), (9, True), (10, False), (11, False)])
def test_an_entry_is_fresh_until_its_time(age: int, fresh: bool) -> None:
    lookup = lookup_of()
    lookup.now = NOW
    assert lookup.is_fresh(entry_of(now=NOW, age=age, fresh=10)) == fresh


@pytest.mark.parametrize(("age", "fresh"), [(1999, True), (2000, True), (2001, False)])
def test_a_caller_may_want_no_older_one(age: int, fresh: bool) -> None:
    lookup = lookup_of(headers=[(b"cache-control", b"max-age=2")])
    lookup.now = NOW
    assert lookup.is_fresh(entry_of(now=NOW, age=age)) == fresh


# Stale answers


@pytest.mark.parametrize(
    ("age", "now", "on_error"),
    [(5, True, True), (15, True, True), (25, False, True), (35, False, False)],
)
def test_a_stale_answer_does_for_longer_where_there_is_no_new_one(
    age: int, now: bool, on_error: bool
) -> None:
    lookup = lookup_of()
    lookup.found(NOW, [entry_of(now=NOW, age=age, fresh=10, revalidate=10, on_error=20)])
    assert (lookup.all_within(error=False) is not None) == now
    assert (lookup.all_within(error=True) is not None) == on_error


def test_a_stale_answer_does_only_with_all_the_others() -> None:
    lookup = batch("a", "b")
    stale = entry_of(now=NOW, age=15, fresh=10, revalidate=10)
    lookup.found(NOW, [stale, None])
    assert lookup.all_within(error=False) is None
    fresh = entry_of(now=NOW)
    lookup.found(NOW, [stale, fresh])
    assert lookup.all_within(error=False) == [stale, fresh]


@pytest.mark.parametrize("error", [True, False])
def test_who_names_an_age_gets_no_older_answer_whatever_the_reason(error: bool) -> None:
    lookup = lookup_of(headers=[(b"cache-control", b"max-age=60")])
    lookup.found(NOW, [entry_of(now=NOW, age=15, fresh=10, revalidate=10, on_error=10)])
    assert lookup.all_within(error=error) is None


@pytest.mark.parametrize(
    ("error", "better"),
    [
        (UpstreamTimeout("late"), True),
        (UpstreamOverloaded("no"), True),
        (UpstreamRefused("slow down", status=429), True),
        (UpstreamRefused("wrong", status=400), False),
        (InvalidRequest("wrong"), False),
        (Unavailable("the store"), False),
    ],
    ids=lambda value: getattr(value, "message", None),
)
def test_a_stale_answer_is_better_than_an_outage_and_no_other_error(
    error: GatewayError, better: bool
) -> None:
    lookup = lookup_of()
    lookup.found(NOW, [entry_of(now=NOW, age=15, fresh=10, on_error=10)])
    assert (lookup.stale_for(error) is not None) == better


# What is still to be asked


def test_only_the_missing_prompts_are_asked_for() -> None:
    lookup = batch("a", "b", "c", n=2)
    lookup.found(NOW, [None, entry_of(now=NOW), None])
    call = lookup.call_for_missing()
    assert call.request.prompts == ["a", "c"]  # type: ignore[attr-defined]
    assert call.outcome is lookup.call.outcome
    assert lookup.call.request.prompts == ["a", "b", "c"]


def test_what_is_asked_is_what_the_fingerprint_says() -> None:
    # It has the default of max_tokens in it, whatever the upstream takes for one.
    sent = lookup_of().call_for_missing().request.body_for("m")  # type: ignore[attr-defined]
    assert orjson.loads(sent)["max_tokens"] == DEFAULT_MAX_TOKENS


def test_a_call_for_one_missing_prompt_is_found_by_who_asks_for_it_alone() -> None:
    lookup = batch("a", "b")
    lookup.found(NOW, [entry_of(now=NOW), None])
    assert lookup.flight_digest == lookup_of(call_of(prompt="b")).flight_digest


def test_calls_for_other_prompts_are_other_calls() -> None:
    both, first = batch("a", "b", "c"), batch("a", "b", "c")
    first.found(NOW, [None, None, entry_of(now=NOW)])
    assert both.flight_digest != first.flight_digest
    assert first.flight_digest == batch("a", "b").flight_digest
    assert first.flight_digest != batch("b", "a").flight_digest


# What may be kept, and shared


@pytest.mark.parametrize(
    ("headers", "ttl", "storable"),
    [
        ([], "60s", True),
        ([], 0, False),
        ([(b"x-headgate-cache-ttl", b"5")], 0, True),
        ([(b"x-headgate-cache-ttl", b"0")], "60s", False),
        ([(b"cache-control", b"no-store")], "60s", False),
        ([(b"cache-control", b"no-cache")], "60s", True),
    ],
)
def test_an_answer_is_kept_where_the_plan_and_the_caller_say_so(
    headers: Any, ttl: Any, storable: bool
) -> None:
    assert lookup_of(plan=plan_of({"ttl": ttl}), headers=headers).storable == storable


@pytest.mark.parametrize(
    ("headers", "members", "shared"),
    [
        ([], {}, True),
        ([], {"temperature": 1}, False),
        ([], {"temperature": 1, "seed": 1}, True),
        ([(b"cache-control", b"no-cache")], {}, False),
        ([(b"cache-control", b"no-store")], {}, False),
        ([(b"cache-control", b"only-if-cached")], {}, False),
        ([], {"stream": True, "stream_options": {"continuous_usage_stats": True}}, False),
        ([], {"stream": True, "stream_options": {"include_usage": True}}, True),
    ],
)
def test_a_call_is_shared_where_everybody_would_get_the_same(
    headers: Any, members: dict[str, Any], shared: bool
) -> None:
    assert lookup_of(call_of(headers, **members)).may_coalesce == shared


@pytest.mark.parametrize(
    ("coalesce", "sampled", "fixed"),
    [("deterministic", False, True), ("all", True, True), ("off", False, False)],
)
def test_the_plan_says_which_requests_may_share(coalesce: str, sampled: bool, fixed: bool) -> None:
    plan = plan_of(coalesce=coalesce)
    shared = [
        lookup_of(call_of(temperature=1, **members), plan=plan).may_coalesce
        for members in ({}, {"seed": 5})
    ]
    assert shared == [sampled, fixed]


def test_what_the_cache_did_is_said_to_the_caller_and_in_the_record() -> None:
    lookup = lookup_of()
    lookup.set_status("hit")
    assert header_of(lookup.call, b"x-headgate-cache") == b"hit"
    assert lookup.call.outcome.cache == "hit"
