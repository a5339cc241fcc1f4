"""What is charged where a call was sent and nobody knows what it used."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.call import Call
from app.core.errors import UpstreamInvalid, UpstreamTimeout, UpstreamUnreachable
from app.core.pricing import Price
from app.core.request import ONE_CALL, FanOut
from app.core.usage import Usage
from app.openai.completions.bounds import most
from app.providers.unknown_usage import Rule, reason_of, unknown_usage
from tests.harness.chain import call_of


def call(**members: Any) -> Call:
    return call_of(**({"prompt": [1, 2, 3], "max_tokens": 7} | members))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("prompt", Usage(3, 0, True)), ("bound", Usage(3, 7, True)), ("nothing", None)],
)
def test_each_rule(rule: Rule, expected: Usage | None) -> None:
    assert unknown_usage(rule, call(), ONE_CALL, 1) == expected


def test_the_bound_costs_what_was_held() -> None:
    asked = call(prompt="a text of some length", n=2)
    used = unknown_usage("bound", asked, ONE_CALL, 1)
    price = Price(3_000, 7_000)
    assert used is not None
    assert price.cost(used) == price.cost(most(asked.request))  # type: ignore[arg-type]


def test_some_of_many_calls_cost_their_share() -> None:
    asked, four = call(prompt=[[1] * 10, [1] * 10], n=2), FanOut(calls=4, times=2)
    assert unknown_usage("prompt", asked, four, 3) == Usage(30, 0, True)
    assert unknown_usage("bound", asked, four, 1) == Usage(10, 7, True)
    assert unknown_usage("prompt", asked, four, 9) == Usage(40, 0, True)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (None, "client_disconnect"),
        (UpstreamTimeout("x"), "timeout"),
        (UpstreamInvalid("x"), "invalid_answer"),
        (UpstreamUnreachable("x"), "connection_lost"),
        (ValueError("x"), "other"),
    ],
)
def test_the_reasons(failure: BaseException | None, reason: str) -> None:
    assert reason_of(failure) == reason
