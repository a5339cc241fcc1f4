"""The simulator's text depends on the request alone, and its counts are honest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.providers.simulator.text import Choice, Token, generate, tokens_of

TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)
PROMPTS = TEXTS | st.lists(st.integers(0, 2**31), min_size=1, max_size=20)


def said(tokens: list[Token]) -> str:
    return "".join(token.text for token in tokens)


def choose(prompt: Any = "Once upon a time", number: int = 0, **document: Any) -> Choice:
    return generate(document, prompt, number)


@settings(max_examples=50, deadline=None)
@given(PROMPTS, st.integers(0, 3), st.integers(0, 40))
def test_the_same_request_gets_the_same_answer(prompt: Any, number: int, limit: int) -> None:
    assert choose(prompt, number, max_tokens=limit) == choose(prompt, number, max_tokens=limit)


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_the_tokens_of_a_text_are_the_text(text: str) -> None:
    assert "".join(tokens_of(text)) == text


def test_a_token_id_is_a_token() -> None:
    assert len(tokens_of([0, 5, 2**40])) == 3


@pytest.mark.parametrize("limit", [0, 1, 7, 16])
def test_max_tokens_is_kept_and_counted(limit: int) -> None:
    choice = choose(max_tokens=limit)
    assert len(choice.generated) == limit
    assert choice.finish_reason == "length"


def test_sixteen_tokens_where_nothing_is_said() -> None:
    assert len(choose().generated) == 16


def test_a_long_answer_ends_by_itself() -> None:
    assert choose(max_tokens=10_000).finish_reason == "stop"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"prompt": "a"}, {"prompt": "b"}),
        ({"number": 0}, {"number": 1}),
        ({"seed": 1}, {"seed": 2}),
        ({"suffix": "a"}, {"suffix": "b"}),
    ],
)
def test_another_request_gets_another_answer(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert said(choose(**one).generated) != said(choose(**other).generated)


def test_at_temperature_zero_every_choice_is_the_same() -> None:
    assert choose(number=0, temperature=0) == choose(number=5, temperature=0)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 50), st.data())
def test_a_text_ends_right_before_its_stop(number: int, data: st.DataObject) -> None:
    free = said(choose("p", number, max_tokens=20).generated)
    start = data.draw(st.integers(0, len(free) - 1))
    stop = free[start : start + data.draw(st.integers(1, 12))]
    choice = choose("p", number, max_tokens=20, stop=[stop])
    assert said(choice.generated) == free[: free.index(stop)]
    assert choice.finish_reason == "stop"


def test_the_first_of_several_stops_counts() -> None:
    free = said(choose(max_tokens=12).generated)
    stops = [free[20:22], free[3:6]]
    cut = min(free.index(stop) for stop in stops)
    assert said(choose(max_tokens=12, stop=stops).generated) == free[:cut]


@pytest.mark.parametrize("stop", ["", [], [""], "never said"])
def test_a_stop_that_never_comes_changes_nothing(stop: Any) -> None:
    assert choose(stop=stop) == choose()


@settings(max_examples=50, deadline=None)
@given(PROMPTS)
def test_echo_is_the_prompt_token_by_token(prompt: Any) -> None:
    echoed = choose(prompt, echo=True).echoed
    assert [token.text for token in echoed] == tokens_of(prompt)


def test_without_echo_nothing_is_echoed() -> None:
    assert choose().echoed == []


@pytest.mark.parametrize("count", [1, 3, 5])
def test_alternatives_are_as_many_as_asked_and_the_token_is_the_likeliest(count: int) -> None:
    for token in choose(logprobs=count, max_tokens=60).generated:
        assert len(token.top) == count
        assert max(token.top, key=token.top.__getitem__) == token.text
        assert token.top[token.text] == token.logprob <= 0


@pytest.mark.parametrize("asked", [{}, {"logprobs": 0}])
def test_no_alternatives_where_none_were_asked_for(asked: dict[str, Any]) -> None:
    assert all(token.top == {} for token in choose(**asked).generated)
