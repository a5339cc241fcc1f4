"""What may be asked of POST /v1/embeddings, and what is forwarded of it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.core.errors import InvalidRequest
from app.core.request import Allowance, TargetRules
from app.core.usage import Usage
from app.openai.embeddings.bounds import bounded, likely, most
from app.openai.embeddings.request import CONTRACT, EmbeddingsRequest, parse
from app.openai.output_limits import OPENAI


def request(given: Any = "a", **members: Any) -> EmbeddingsRequest:
    return parse(orjson.dumps({"model": "m", "input": given} | members))


def wrong(document: dict[str, Any]) -> list[str | None]:
    with pytest.raises(InvalidRequest) as caught:
        parse(orjson.dumps(document))
    return [problem.param for problem in caught.value.details]


RULES: dict[str, tuple[list[Any], list[Any]]] = {
    "model": (["m"], ["", 1, None]),
    "input": (
        ["a", " ", ["a", "b"], [1], [0, 5], [[1], [2, 3]], ["a"] * 2048],
        ["", [], ["a", ""], [[]], [[1], []], [1, "a"], 5, {}, None, [-1], [1.0], ["a"] * 2049],
    ),
    "dimensions": ([1, 3072, 5.0], [0, -1, 1.5, "5", True]),
    "encoding_format": (["float", "base64"], ["hex", 1]),
    "user": (["u"], [1]),
    "stream": ([False], [True, "no"]),
}


@pytest.mark.parametrize("name", RULES)
def test_a_field_takes_what_is_right_and_refuses_what_is_not(name: str) -> None:
    good, bad = RULES[name]
    base = {"model": "m", "input": "a"}
    for value in good:
        parse(orjson.dumps(base | {name: value}))
    for value in bad:
        assert wrong(base | {name: value}) == [name], value


def test_every_field_has_its_rule_tested() -> None:
    assert RULES.keys() == CONTRACT


def test_every_wrong_field_is_named() -> None:
    document = {"input": [], "dimensions": 0, "encoding_format": "x", "stream": True}
    assert wrong(document) == ["input", "dimensions", "encoding_format", "stream", "model"]


def test_a_misspelt_input_is_named() -> None:
    with pytest.raises(InvalidRequest, match="did you mean `input`"):
        parse(b'{"model": "m", "inputs": "a"}')


def test_everything_is_forwarded_as_it_was_written_but_for_the_form() -> None:
    body = b'{"model":"m","input":["\\u0061"],"encoding_format":"base64","dimensions":5.0,"x":1.50}'
    sent = parse(body).native().body_for("up")
    assert sent == b'{"model":"up","input":["\\u0061"],"dimensions":5,"x":1.50}'


@pytest.mark.parametrize(
    ("given", "inputs"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2]], [[1], [2]])],
)
def test_a_batch_is_its_inputs(given: Any, inputs: list[Any]) -> None:
    assert request(given).inputs == inputs


def test_a_part_of_a_batch_is_as_it_was_written() -> None:
    asked = parse(b'{"model":"m","input":["a","\\u0062","c"],"encoding_format":"base64"}')
    part = asked.of_prompts([1, 2])
    assert part.inputs == ["b", "c"]
    assert b'["\\u0062","c"]' in part.body_for("up")
    assert part.format == "base64"


def test_doubles_are_found() -> None:
    asked = request([[1], [2], [1], [2], [3]])
    assert asked.first_places() == [0, 1, 4]
    assert asked.answered_by([0, 1, 4]) == [0, 1, 0, 1, 2]


def test_what_is_held_is_a_token_a_byte_and_what_else_may_stand_before_it() -> None:
    assert most(request(["ab", "é"])) == Usage(4 + 2 + 4 + 2, 0, estimated=True)
    assert most(request([[1, 2, 3]])).prompt_tokens == 3 + 4
    assert most(request(["ab", "cd"], instruction="xy")).prompt_tokens == 12 + 2 * len('"xy"')
    assert likely(request("abcdefgh")) == Usage(2, 0, estimated=True)


def test_what_costs_more_by_another_way_is_refused_where_money_is_held() -> None:
    asked = request(models=["dear"])
    free = bounded(asked, TargetRules(OPENAI), Allowance(bound=False, cap=None))
    assert free is asked
    with pytest.raises(InvalidRequest, match="models"):
        bounded(asked, TargetRules(OPENAI), Allowance(bound=True, cap=None))


def test_members_beyond_the_contract_need_leave() -> None:
    with pytest.raises(InvalidRequest, match="task"):
        bounded(request(task="x"), TargetRules(OPENAI, frozenset()), Allowance(False, None))
