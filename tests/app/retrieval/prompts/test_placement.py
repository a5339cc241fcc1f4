"""Where chunks stand in a request, and that the caller's own bytes stay what they were."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from app.core.errors import InvalidRequest
from app.openai.chat.request import parse as parse_chat
from app.openai.completions.request import parse
from app.retrieval.prompts.placement import MAX_QUESTION, Templates, placed, questions_of
from app.retrieval.prompts.template import parse_system, parse_template

TEMPLATES = Templates(parse_template('"A" <CONTEXT>\n<PROMPT>!'), parse_system("S <CONTEXT>"))


def request(body: bytes | None = None, **members: Any) -> Any:
    return parse(body or orjson.dumps({"model": "m"} | members))


def chat(*messages: dict[str, Any], **members: Any) -> Any:
    return parse_chat(orjson.dumps({"model": "m", "messages": list(messages)} | members))


def said(request: Any) -> Any:
    """What goes upstream, which must be what the document says."""
    sent = json.loads(request.body_for("m"))
    assert all(sent[name] == value for name, value in request.document.items())
    return sent


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_a_prompt_stands_in_its_slot() -> None:
    assert said(placed(request(prompt="q"), ["docs"], TEMPLATES))["prompt"] == '"A" docs\nq!'


def test_each_prompt_of_a_batch_has_its_own_context() -> None:
    new = placed(request(prompt=["one", "two", "three"], n=2), ["1", "", "3"], TEMPLATES)
    assert said(new)["prompt"] == ['"A" 1\none!', "two", '"A" 3\nthree!']
    assert new.prompts == said(new)["prompt"]
    assert new.n == 2


def test_what_the_caller_wrote_is_not_written_anew() -> None:
    new = placed(request(rb'{"model": "m", "prompt": [ "\u00e9 \u0041\/" ]}'), ["d"], TEMPLATES)
    assert rb'd\n\u00e9 \u0041\/!"]' in new.body_for("m")


def test_a_limit_that_was_bound_stays() -> None:
    bound = request(prompt="q", max_tokens=7).limited_to(7)
    assert placed(bound, ["d"], TEMPLATES).limited


def test_a_conversation_gets_a_message_before_the_last_of_the_user() -> None:
    messages = [user("first"), {"role": "assistant", "content": "yes"}, user("second")]
    new = placed(chat(*messages), ["docs"], TEMPLATES)
    assert said(new)["messages"] == [
        *messages[:2],
        {"role": "system", "content": "S docs"},
        messages[2],
    ]


def test_results_of_tools_after_the_question_stay_behind_it() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tools = [{"type": "function", "function": {"name": "f"}}]
    after = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ]
    asked = chat(user("why"), *after, tools=tools)
    assert questions_of(asked, "off") == ["why"]
    new = said(placed(asked, ["docs"], TEMPLATES))["messages"]
    assert [message["role"] for message in new] == ["system", "user", "assistant", "tool"]


@pytest.mark.parametrize(
    ("content", "question"),
    [
        ("  why? ", "why?"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
        ([{"type": "image_url", "image_url": {"url": "https://x/y.png"}}], ""),
        ("x" * 5000 + "end", "x" * (MAX_QUESTION - 3) + "end"),
    ],
)
def test_what_is_asked_is_the_text_of_the_last_message(content: Any, question: str) -> None:
    assert questions_of(chat(user("before"), user(content)), "off") == [question]


def test_a_conversation_without_a_user_asks_nothing() -> None:
    assert questions_of(chat({"role": "system", "content": "s"}), "off") == [""]


def test_messages_sent_to_completions_are_a_conversation() -> None:
    asked = request(messages=[user("why")])
    assert questions_of(asked, "off") == ["why"]
    roles = [message["role"] for message in said(placed(asked, ["d"], TEMPLATES))["messages"]]
    assert roles == ["system", "user"]


def test_a_suffix_is_left_alone_unless_it_is_asked_for() -> None:
    asked = request(prompt="q", suffix="end")
    assert questions_of(asked, "off") is None
    assert questions_of(asked, "inject") == ["q"]
    with pytest.raises(InvalidRequest):
        questions_of(asked, "refuse")
    assert questions_of(request(prompt="q", suffix=""), "refuse") == ["q"]


@pytest.mark.parametrize(
    "members", [{"echo": True}, {"prompt_logprobs": 0}, {"return_token_ids": True}]
)
def test_what_shows_the_prompt_is_refused(members: dict[str, Any]) -> None:
    for asked in (request(prompt="q", **members), chat(user("q"), **members)):
        with pytest.raises(InvalidRequest) as refusal:
            questions_of(asked, "off")
        assert refusal.value.param in members


def test_what_asks_for_nothing_of_it_is_not() -> None:
    asked = request(prompt="q", echo=False, prompt_logprobs=None, logprobs=2)
    assert questions_of(asked, "off") == ["q"]


@pytest.mark.parametrize(("prompt", "param"), [([1, 2], "prompt"), ([[1], [2, 3]], "prompt[0]")])
def test_token_ids_are_refused(prompt: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        questions_of(request(prompt=prompt), "off")
    assert (refusal.value.param, refusal.value.code) == (param, "unsupported_parameter")
