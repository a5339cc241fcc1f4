"""What a chat request uses: at most, for money, and probably, for limits."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.core.errors import InvalidRequest
from app.core.request import Allowance, Cap, PartTokens, TargetRules
from app.core.usage import Usage
from app.openai.chat.bounds import TEMPLATE_OVERHEAD, bounded, is_bounded, likely, most
from app.openai.message_size import MESSAGE_OVERHEAD
from app.openai.output_limits import OPENAI
from tests.app.openai.chat.chatting import request

RULES = TargetRules(OPENAI)
BOUND = Allowance(bound=True, cap=None)
FIXED = TEMPLATE_OVERHEAD + 2 * MESSAGE_OVERHEAD


def said(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


def test_text_counts_a_token_a_byte_at_most() -> None:
    assert most(request(**said("é" * 10), max_tokens=7)) == Usage(20 + FIXED, 7, True)
    assert likely(request(**said("a" * 40), max_tokens=7)) == Usage(10, 7, True)


def test_every_choice_may_be_as_long_as_the_limit() -> None:
    assert most(request(n=3, max_completion_tokens=7)).completion_tokens == 21


PARTS = [
    ({"type": "image_url", "image_url": {"url": "u", "detail": "low"}}, "image_low"),
    ({"type": "image_url", "image_url": {"url": "u"}}, "image_auto"),
    ({"type": "input_audio", "input_audio": {"data": "a" * 999, "format": "wav"}}, "audio"),
    ({"type": "file", "file": {"file_data": "a" * 999}}, "file"),
    ({"type": "video_url", "video_url": {"url": "u"}}, "video"),
]


@pytest.mark.parametrize(("part", "kind"), PARTS)
def test_a_part_that_is_no_text_counts_as_the_operator_says(
    part: dict[str, Any], kind: str
) -> None:
    tokens = PartTokens(**{kind: 123_456, "image_high": 1})
    asked = request(**said([part]), max_tokens=1).counting(tokens)
    assert most(asked).prompt_tokens == 123_456 + FIXED
    assert likely(asked).prompt_tokens == 123_456


def test_tools_and_other_members_count_by_their_bytes() -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": "x" * 100}}]
    more = most(request(tools=tools, guided={"a": "b"})).prompt_tokens
    assert more == most(request()).prompt_tokens + len(orjson.dumps(tools)) + len('{"a":"b"}')


def test_an_earlier_sound_and_calls_count() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "x" * 100}}
    messages = [{"role": "assistant", "tool_calls": [call]}]
    assert most(request(messages=messages)).prompt_tokens > 100 + FIXED
    sound = [{"role": "assistant", "audio": {"id": "a"}}]
    assert most(request(messages=sound)).prompt_tokens > PartTokens().audio


def test_an_absent_limit_is_the_models() -> None:
    rules = RULES._replace(max_output=300, limit_name="max_completion_tokens")
    made = bounded(request(), rules, BOUND)
    assert (made.document["max_completion_tokens"], made.limited) == (300, True)
    assert most(made).completion_tokens == 300
    smaller = bounded(request(), rules, Allowance(bound=True, cap=Cap(5, "this key's")))
    assert smaller.max_tokens == 5


def test_nothing_is_written_where_nothing_depends_on_it() -> None:
    asked = request(max_tokens=5)
    assert bounded(asked, RULES, Allowance(bound=False, cap=None)) is asked
    assert not is_bounded(request(), OPENAI)
    assert is_bounded(asked, OPENAI)
    assert not is_bounded(request(max_tokens=5, n_predict=-1), OPENAI)


def test_the_smallest_limit_is_the_only_one() -> None:
    made = bounded(request(max_tokens=9, maxTokens=7, num_predict=8), RULES, BOUND)
    assert made.document.keys() == {"model", "messages", "max_tokens"}
    assert made.max_tokens == 7


@pytest.mark.parametrize(
    ("param", "members"),
    [
        ("max_completion_tokens", {"max_completion_tokens": 51}),
        ("num_predict", {"num_predict": -1}),
        ("min_tokens", {"min_tokens": 51}),
        ("num_beams", {"num_beams": 4}),
        ("options.num_predict", {"options": {"num_predict": 5}}),
        ("web_search_options", {"web_search_options": {}}),
        ("service_tier", {"service_tier": "priority"}),
        ("Messages", {"Messages": []}),
    ],
)
def test_what_has_no_bound_is_refused_by_name(param: str, members: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        bounded(request(**members), RULES, Allowance(bound=True, cap=Cap(50, "this key's")))
    assert caught.value.param == param


def test_a_prediction_counts_as_output() -> None:
    prediction = {"type": "content", "content": "x" * 100}
    made = most(request(max_tokens=5, prediction=prediction))
    assert made.completion_tokens == 5 + len(orjson.dumps(prediction))
