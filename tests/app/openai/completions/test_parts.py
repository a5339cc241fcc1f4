"""A batch taken apart and put together again is the batch, to the token."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.usage import Usage
from app.openai.completions.parts import apportion, is_clean, merge, share_out, split

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
IDS = st.lists(st.integers(0, 99_999), min_size=1, max_size=12)


def choice(text: str = "t", index: int = 0, reason: Any = "stop", **more: Any) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": reason} | more


def answer(choices: list[dict[str, Any]], usage: Usage, **more: Any) -> dict[str, Any]:
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1_600_000_000,
        "model": "up",
        "choices": choices,
        "usage": usage.document(),
    } | more


@st.composite
def batches(draw: st.DrawFn) -> tuple[dict[str, Any], Usage, list[Any], int]:
    """An answer, what it used, its prompts (text or token ids), and choices per prompt."""
    kind = draw(st.sampled_from([TEXT, IDS]))
    prompts: list[Any] = draw(st.lists(kind, min_size=1, max_size=5))
    n = draw(st.integers(1, 3))
    choices = []
    for index in range(len(prompts) * n):
        text = draw(TEXT)
        more: dict[str, Any] = draw(st.sampled_from([{}, {"stop_reason": 7}, {"extra": [1]}]))
        made = choice(text, index, draw(st.sampled_from(["stop", "length"])), **more)
        if draw(st.booleans()):
            made["logprobs"] = {"tokens": list(text), "token_logprobs": [-0.5] * len(text)}
        choices.append(made)
    count = st.integers(0, 10**9)
    usage = Usage(draw(count), draw(count))
    return answer(choices, usage, system_fingerprint="fp"), usage, prompts, n


@settings(deadline=None)
@given(batches())
def test_split_and_merge_undo_each_other(
    batch: tuple[dict[str, Any], Usage, list[Any], int],
) -> None:
    document, usage, prompts, n = batch
    parts = split(orjson.dumps(document), usage, prompts, n)
    bodies = {place: part.body for place, part in enumerate(parts)}
    assert orjson.loads(merge(bodies, len(prompts), n, 0)) == document


@settings(deadline=None)
@given(batches())
def test_the_parts_use_what_the_whole_used(
    batch: tuple[dict[str, Any], Usage, list[Any], int],
) -> None:
    document, usage, prompts, n = batch
    shares = [part.usage for part in split(orjson.dumps(document), usage, prompts, n)]
    assert sum(share.prompt_tokens for share in shares) == usage.prompt_tokens
    assert sum(share.completion_tokens for share in shares) == usage.completion_tokens
    assert all(min(share[:2]) >= 0 for share in shares)


@settings(deadline=None)
@given(batches())
def test_every_part_is_an_answer_to_its_prompt_alone(
    batch: tuple[dict[str, Any], Usage, list[Any], int],
) -> None:
    document, usage, prompts, n = batch
    for place, part in enumerate(split(orjson.dumps(document), usage, prompts, n)):
        own = orjson.loads(part.body)
        texts = [c["text"] for c in document["choices"][place * n : (place + 1) * n]]
        assert [c["index"] for c in own["choices"]] == list(range(n))
        assert [c["text"] for c in own["choices"]] == texts
        assert own["usage"] == part.usage.document()
        assert is_clean(part.body, n)


@settings(deadline=None)
@given(batches(), st.data())
def test_parts_of_any_places_merge_by_the_index_rule(
    batch: tuple[dict[str, Any], Usage, list[Any], int], data: st.DataObject
) -> None:
    document, usage, prompts, n = batch
    parts = split(orjson.dumps(document), usage, prompts, n)
    order = data.draw(st.permutations(range(len(parts))))
    bodies = {place: parts[origin].body for place, origin in enumerate(order)}
    envelope = data.draw(st.sampled_from(range(len(parts))))
    merged = orjson.loads(merge(bodies, len(parts), n, envelope))
    expected = [document["choices"][origin * n + i]["text"] for origin in order for i in range(n)]
    assert [c["text"] for c in merged["choices"]] == expected
    assert [c["index"] for c in merged["choices"]] == list(range(len(expected)))
    assert merged["usage"] == usage.document()


def test_one_prompt_keeps_its_own_bytes() -> None:
    body = b'{ "id":"cmpl-1","choices":[ ] }'
    [part] = split(body, Usage(1, 2), ["p"], 1)
    assert part == (body, Usage(1, 2))


def test_messages_are_one_part() -> None:
    [part] = split(b"{}", Usage(1, 2), [], 1)
    assert part == (b"{}", Usage(1, 2))


def test_the_envelope_is_one_parts_and_not_a_mixture() -> None:
    bodies = {
        0: orjson.dumps(answer([choice("a")], Usage(1, 1), id="cmpl-a", seen="a")),
        1: orjson.dumps(answer([choice("b")], Usage(1, 1), id="cmpl-b")),
    }
    merged = orjson.loads(merge(bodies, 2, 1, 1))
    assert merged["id"] == "cmpl-b"
    assert "seen" not in merged


def test_token_ids_are_counted_and_not_estimated() -> None:
    shares = share_out(Usage(4, 2), [[1], [2, 3, 4]], [choice("a"), choice("b", 1)], 1)
    assert [share.prompt_tokens for share in shares] == [1, 3]


def test_log_probabilities_tell_the_tokens_of_a_choice() -> None:
    long = choice("a" * 100, logprobs={"tokens": ["a" * 100]})
    short = choice("abc", 1, logprobs={"tokens": ["a", "b", "c"]})
    shares = share_out(Usage(2, 4), ["p", "q"], [long, short], 1)
    assert [share.completion_tokens for share in shares] == [1, 3]


def test_shares_of_a_usage_are_estimates() -> None:
    shares = share_out(Usage(2, 2), ["p", "q"], [choice(), choice("u", 1)], 1)
    assert all(share.estimated for share in shares)


# Whole shares


@given(st.integers(0, 10**12), st.lists(st.integers(0, 10**7), min_size=1, max_size=40))
def test_shares_add_up_and_are_within_one_of_their_weight(total: int, weights: list[int]) -> None:
    shares = apportion(total, weights)
    whole = sum(weights)
    assert sum(shares) == total
    if whole:
        for share, weight in zip(shares, weights, strict=True):
            assert abs(share * whole - total * weight) < whole


def test_without_weights_everybody_gets_the_same() -> None:
    assert apportion(7, [0, 0, 0]) == [3, 2, 2]


@given(st.integers(0, 10**6), st.lists(st.integers(0, 100), min_size=1, max_size=9))
def test_a_heavier_one_never_gets_less(total: int, weights: list[int]) -> None:
    pairs = sorted(zip(weights, apportion(total, weights), strict=True))
    for (lighter, less), (heavier, more) in pairwise(pairs):
        assert less <= more or lighter == heavier


# What may be kept


@pytest.mark.parametrize("reason", ["stop", "length", "eos", "eos_token", "stop_sequence"])
def test_an_answer_that_came_to_its_end_is_clean(reason: str) -> None:
    assert is_clean(orjson.dumps(answer([choice(reason=reason)], Usage(1, 1))), 1)


@pytest.mark.parametrize("reason", [None, "", "content_filter", "abort", "error", "Stop", 5, {}])
def test_an_answer_that_ended_otherwise_is_not(reason: Any) -> None:
    assert not is_clean(
        orjson.dumps(answer([choice(), choice(index=1, reason=reason)], Usage(1, 1))), 2
    )


def test_an_answer_with_other_than_the_expected_choices_is_not() -> None:
    body = orjson.dumps(answer([choice(), choice(index=1)], Usage(1, 1)))
    assert [is_clean(body, count) for count in (1, 2, 3)] == [False, True, False]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"choices":{}}',
        b'{"choices":[null]}',
        b'{"choices":[{"finish_reason":"stop"}',
        b"\xff",
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_rubbish_is_not(body: bytes) -> None:
    assert not is_clean(body, 1)
