"""Counts are the upstream's, else an estimate that says it is one."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.usage import MAX_TOKENS, Usage, estimate_prompts, estimate_text, read_usage


def test_a_total_is_the_sum() -> None:
    assert Usage(3, 2).document() == {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
    }


@pytest.mark.parametrize(
    ("members", "usage"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}, Usage(3, 2)),
        ({"prompt_tokens": 3, "completion_tokens": 2}, Usage(3, 2)),
        ({"prompt_tokens": 3}, Usage(3, 0)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(0, 0)),
        (
            {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 9},
            Usage(3, 2, reasoning_tokens=4, uncounted_tokens=4),
        ),
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 2 * MAX_TOKENS}, Usage(3, 2)),
        ({"prompt_tokens": 3, "prompt_cache_hit_tokens": 2}, Usage(3, 0, cached_tokens=2)),
        ({"prompt_tokens": 3, "cached_tokens": 9}, Usage(3, 0, cached_tokens=3)),
        ({"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": -1}}, Usage(3, 0)),
        ({"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": "2"}}, Usage(3, 0)),
        ({"prompt_tokens": 3, "prompt_tokens_details": None}, Usage(3, 0)),
        (
            {
                "prompt_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 2},
            },
            Usage(3, 0, cached_tokens=2, cache_write_tokens=1),
        ),
    ],
)
def test_what_the_upstream_counted_is_taken(members: Any, usage: Usage) -> None:
    assert read_usage(members) == usage


@pytest.mark.parametrize(
    "members",
    [
        None,
        [],
        5,
        {},
        {"completion_tokens": 2},
        {"prompt_tokens": None, "completion_tokens": 2},
        {"prompt_tokens": 3, "completion_tokens": None},
        {"prompt_tokens": 3.0},
        {"prompt_tokens": "3"},
        {"prompt_tokens": True},
        {"prompt_tokens": -1},
        {"prompt_tokens": 1, "completion_tokens": -1},
    ],
)
def test_what_cannot_be_trusted_is_not_taken(members: Any) -> None:
    assert read_usage(members) is None


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("éé", 1), ("ééé", 2)]
)
def test_a_text_is_estimated_at_four_bytes_a_token(text: str, tokens: int) -> None:
    assert estimate_text(text) == tokens


@pytest.mark.parametrize(
    ("prompts", "tokens"),
    [([], 0), ([""], 0), (["abcd", "abcd"], 2), ([[1, 2, 3]], 3), ([[1], [2, 3]], 3)],
)
def test_every_prompt_counts_and_token_ids_exactly(prompts: list[Any], tokens: int) -> None:
    assert estimate_prompts(prompts) == tokens


@pytest.mark.parametrize("count", [10**30, 10**18, -1])
def test_a_count_that_cannot_be_one_is_not_believed(count: int) -> None:
    assert read_usage({"prompt_tokens": count, "completion_tokens": 1}) is None
    assert read_usage({"prompt_tokens": 1, "completion_tokens": count}) is None


def test_an_upstreams_total_stays_where_it_counts_more() -> None:
    said = {"prompt_tokens": 66, "completion_tokens": 6, "total_tokens": 100, "x": 1}
    usage = read_usage(said)
    assert usage is not None
    assert usage.over(said) == said
    assert Usage(66, 6).over({"total_tokens": 3})["total_tokens"] == 72
