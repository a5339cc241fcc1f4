"""Which of several choices are the best."""

from __future__ import annotations

import pytest

from app.core.errors import UpstreamInvalid
from app.openai.completions.best_of import best, score


def choice(text, *values, index=0):
    return {"text": text, "index": index, "logprobs": {"token_logprobs": list(values)}}


def test_it_is_the_mean_a_token_that_counts_and_not_the_length():
    assert score(choice("long", -0.2, -0.2, -0.2, -0.2)) > score(choice("short", -0.5))


def test_a_first_token_without_a_value_is_left_out():
    assert score(choice("x", None, -1.0)) == -1.0


def test_an_empty_choice_is_the_worst():
    assert score({"text": "", "logprobs": None}) == float("-inf")
    assert score(choice("", None)) == float("-inf")


def test_a_choice_that_cannot_be_ranked_is_the_upstreams_failure():
    with pytest.raises(UpstreamInvalid):
        score({"text": "x", "logprobs": None})


def test_each_prompts_best_are_kept_best_first_and_numbered_anew():
    choices = [choice(text, value) for text, value in (("a", -3), ("b", -1), ("c", -2), ("d", 0))]
    kept = best(choices, each=2, kept=1, logprobs=False)
    assert [(c["text"], c["index"], c["logprobs"]) for c in kept] == [
        ("b", 0, None),
        ("d", 1, None),
    ]
