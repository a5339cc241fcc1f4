"""Money is whole nano-dollars: exact, rounded up, and bounded before it is spent."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.pricing import (
    MAX_DOLLARS,
    MILLION,
    NANO,
    Price,
    dollars_text,
    nano_dollars,
)
from app.core.usage import Usage, counted
from app.openai.completions.bounds import likely, most, output_bound, prompt_bound
from app.openai.completions.request import CompletionRequest, parse

tokens = st.integers(0, 10**9)
prices = st.builds(Price, st.integers(0, 10**13), st.integers(0, 10**13))


def request(**members: Any) -> CompletionRequest:
    return parse(orjson.dumps({"model": "m", **members}))


@pytest.mark.parametrize(
    ("dollars", "nano"),
    [
        (0, 0),
        (50, 50 * NANO),
        (0.1, 100_000_000),
        (0.15, 150_000_000),
        (0.3, 300_000_000),
        ("0.000000001", 1),
        (1e-9, 1),
        (Decimal("2.675"), 2_675_000_000),
        (1.1, 1_100_000_000),
        ("8999999.999999999", 8_999_999_999_999_999),
        (MAX_DOLLARS, 9_000_000 * NANO),
    ],
)
def test_what_a_person_writes_is_taken_exactly(dollars: Any, nano: int) -> None:
    assert nano_dollars(dollars) == nano


@given(st.integers(0, 10**10))
def test_a_written_amount_never_loses_a_nano_dollar(nano: int) -> None:
    assert nano_dollars(dollars_text(nano)) == nano


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "0"),
        (1, "0.000000001"),
        (12_300, "0.0000123"),
        (NANO, "1"),
        (10 * NANO, "10"),
        (100 * NANO, "100"),
        (1_050_000_000, "1.05"),
        (-1_500_000_000, "-1.5"),
        (-1, "-0.000000001"),
        (9_007_199_254_740_993, "9007199.254740993"),
    ],
)
def test_an_amount_is_written_without_trailing_zeros(nano: int, text: str) -> None:
    assert dollars_text(nano) == text


def test_a_cost_is_rounded_up_to_the_next_nano_dollar() -> None:
    cheap = Price(1, 0)  # a nano-dollar for a million tokens
    assert [cheap.most(count, 0) for count in (0, 1, MILLION, MILLION + 1)] == [0, 1, 1, 2]


@given(prices, tokens, tokens)
def test_a_cost_is_exact(price: Price, prompt: int, completion: int) -> None:
    exact = Fraction(prompt * price.input + completion * price.output, MILLION)
    cost = price.cost(Usage(prompt, completion))
    assert type(cost) is int
    assert exact <= cost < exact + 1


@given(
    st.builds(Price, *[st.integers(0, 10**13)] * 2, *[st.none() | st.integers(0, 10**13)] * 3),
    st.tuples(*[st.integers(0, 10**6)] * 6),
)
def test_a_reservation_is_never_below_the_cost(price: Price, counts: tuple[int, ...]) -> None:
    usage = counted(*counts)
    made = usage.completion_tokens + usage.uncounted_tokens
    assert 0 <= price.cost(usage) <= price.most(usage.prompt_tokens, made)


def test_what_has_no_price_of_its_own_costs_what_the_rest_does() -> None:
    plain = Price(3, 5).cost(Usage(100, 200))
    assert Price(3, 5).cost(Usage(100, 200, False, 40, 10, 150)) == plain


def test_a_published_price() -> None:
    price = Price(nano_dollars(0.15), nano_dollars(0.6))  # gpt-4o-mini, per million
    assert price.cost(Usage(1000, 500)) == 450_000  # 0.00015 + 0.0003 dollars


@pytest.mark.parametrize(
    ("members", "bound"),
    [
        ({"prompt": "x"}, 16),
        ({"prompt": "x", "max_tokens": 0}, 0),
        ({"prompt": "x", "max_tokens": 7}, 7),
        ({"prompt": ["x", "y", "z"], "max_tokens": 7}, 21),
        ({"prompt": [1, 2, 3], "max_tokens": 7}, 7),
        ({"prompt": [[1, 2], [3]], "max_tokens": 7}, 14),
        ({"prompt": "x", "n": 3, "max_tokens": 7}, 21),
        ({"prompt": "x", "n": 3, "best_of": 5, "max_tokens": 7}, 35),
        ({"prompt": "x", "best_of": 0, "max_tokens": 7}, 7),
        ({"prompt": ["x", "y"], "n": 2, "best_of": 4}, 128),
        ({"messages": [{"role": "user", "content": "x"}], "n": 2, "max_tokens": 7}, 14),
        ({"prompt": "x", "max_tokens": None}, 16),
    ],
)
def test_the_output_bound_is_prompts_times_choices_times_tokens(
    members: dict[str, Any], bound: int
) -> None:
    assert output_bound(request(**members)) == bound


def test_token_ids_are_counted_exactly() -> None:
    assert prompt_bound(request(prompt=[1, 2, 3])) == 3
    assert prompt_bound(request(prompt=[[1, 2, 3], [4]])) == 4


@given(st.lists(st.text(max_size=50), min_size=1, max_size=5))
def test_no_text_has_more_tokens_than_its_bound(texts: list[str]) -> None:
    # A tokenizer of bytes gives every byte a token, and a server adds a start token.
    bound = prompt_bound(request(prompt=texts))
    assert bound >= sum(len(text.encode()) + 1 for text in texts)


def test_every_part_of_a_message_is_counted() -> None:
    plain = request(messages=[{"role": "user", "content": "é" * 100}])
    parts = [{"type": "text", "text": "é" * 50}, {"type": "text", "text": "é" * 50}]
    split = request(messages=[{"role": "user", "content": parts}])
    assert prompt_bound(plain) >= 200
    assert prompt_bound(split) >= 200
    twice = request(messages=[{"role": "system", "content": "é" * 100}] * 2)
    assert prompt_bound(twice) >= 400


@given(prices, st.integers(0, 40), st.integers(1, 4), st.integers(0, 100))
def test_no_answer_within_the_request_costs_more_than_the_bound(
    price: Price, prompt: int, n: int, max_tokens: int
) -> None:
    asked = request(prompt=[7] * (prompt + 1), n=n, max_tokens=max_tokens)
    worst = Usage(prompt + 1, n * max_tokens)
    assert price.cost(worst) == price.cost(most(asked))


def test_an_absurd_request_has_an_absurd_bound() -> None:
    asked = request(prompt="x", max_tokens=2**62, n=128)
    assert Price(1, 10**9).cost(most(asked)) > MAX_DOLLARS * NANO


@pytest.mark.parametrize(
    ("members", "tokens"),
    [
        ({"prompt": "12345678"}, 2 + 16),
        ({"prompt": "12345678", "max_tokens": 100}, 2 + 100),
        ({"prompt": [1, 2, 3], "max_tokens": 5}, 3 + 5),
        ({"prompt": ["12345678", "1234"], "n": 2, "max_tokens": 10}, 2 + 1 + 2 * 2 * 10),
        ({"prompt": "1234", "best_of": 3, "max_tokens": 10}, 1 + 30),
        ({"messages": [{"role": "user", "content": "1234"}], "max_tokens": 10}, 1 + 10),
    ],
)
def test_the_tokens_to_reserve_are_the_prompts_and_all_that_may_be_generated(
    members: dict[str, Any], tokens: int
) -> None:
    assert likely(request(**members)).total_tokens == tokens
