"""A Messages request in chat's words, and what is said of one that cannot be put so."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.core.errors import InvalidRequest
from app.core.request import Allowance, TargetRules
from app.messages.request import bounded, parse_messages
from app.openai.chat.request import ChatRequest
from app.openai.output_limits import OPENAI
from app.providers.anthropic.request import message_request
from app.providers.translation.base import Asked

MARK = {"cache_control": {"type": "ephemeral"}}
CALL = {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Bern"}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
TOOL = {"name": "weather", "description": "It.", "input_schema": {"type": "object"}}


def asked(*messages: Any, **more: Any) -> ChatRequest:
    listed = list(messages) or [{"role": "user", "content": "hi"}]
    body = {"model": "m", "max_tokens": 5, "messages": listed} | more
    return parse_messages(orjson.dumps(body))


def sent(request: ChatRequest) -> dict[str, Any]:
    """What a server of OpenAI's kind is sent."""
    found: dict[str, Any] = orjson.loads(request.body_for("up"))
    return found


def wrong(*messages: Any, **more: Any) -> tuple[str | None, list[str | None]]:
    with pytest.raises(InvalidRequest) as found:
        asked(*messages, **more)
    return found.value.code, [problem.param for problem in found.value.details]


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": said} | more


def test_a_question_is_a_chat_request() -> None:
    request = asked(temperature=0.5, top_p=1, stream=True, metadata={"user_id": "u"})
    assert sent(request) == {
        "model": "up",
        "messages": [{"role": "user", "content": "hi"}],
        "max_completion_tokens": 5,
        "temperature": 0.5,
        "top_p": 1,
        "stream": True,
        "user": "u",
    }


def test_the_system_is_a_message_of_its_own() -> None:
    assert sent(asked(system="Be brief."))["messages"][0] == {
        "role": "system",
        "content": "Be brief.",
    }


def test_marks_of_the_prompt_cache_go_only_to_those_who_know_them() -> None:
    request = asked(system=[text("Long.", **MARK)])
    assert request.messages[0]["content"] == [text("Long.", **MARK)]
    assert sent(request)["messages"][0]["content"] == [text("Long.")]
    translated = message_request(Asked("chat", request.document, "up", 1))
    assert translated["system"] == [text("Long.", **MARK)]


def test_a_changed_request_is_still_sent_in_openais_words_alone() -> None:
    rules = TargetRules(OPENAI)
    request = bounded(
        asked(system=[text("Long.", **MARK)]), rules, Allowance(bound=False, cap=None)
    )
    changed = request.replacing({"messages": request.messages[:1]})
    assert changed.messages[0]["content"] == [text("Long.", **MARK)]
    assert sent(changed)["messages"] == [{"role": "system", "content": [text("Long.")]}]


def test_a_tools_call_and_its_result_are_messages() -> None:
    request = asked(
        user(text("Rain?")),
        {"role": "assistant", "content": [text("I look."), CALL]},
        user({"type": "tool_result", "tool_use_id": "c1", "content": "no"}, text("Sure?")),
        tools=[TOOL],
    )
    function = {"name": "weather", "arguments": '{"city":"Bern"}'}
    assert sent(request)["messages"][1:] == [
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "no"},
        {"role": "user", "content": "Sure?"},
    ]
    [tool] = sent(request)["tools"]
    assert tool["function"] == {
        "name": "weather",
        "parameters": {"type": "object"},
        "description": "It.",
    }


def test_a_picture_in_a_result_is_the_users_for_a_server_that_takes_text_alone() -> None:
    result = {"type": "tool_result", "tool_use_id": "c1", "content": [text("seen"), IMAGE]}
    request = asked(user(text("Look.")), {"role": "assistant", "content": [CALL]}, user(result))
    shown = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert request.messages[2]["content"] == [text("seen"), shown]
    assert sent(request)["messages"][2:] == [
        {"role": "tool", "tool_call_id": "c1", "content": "seen"},
        {"role": "user", "content": [shown]},
    ]


def test_signed_thoughts_go_back_to_their_provider_alone() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "sig"}
    unsigned = {"type": "thinking", "thinking": "hm", "signature": ""}
    said = {"role": "assistant", "content": [thought, unsigned, text("yes")]}
    request = asked(user(text("a")), said, user(text("b")))
    assert "reasoning_details" not in sent(request)["messages"][1]
    blocks = message_request(Asked("chat", request.document, "up", 1))["messages"][1]["content"]
    assert blocks == [thought, text("yes")]


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        (
            {"type": "tool", "name": "weather"},
            {"type": "function", "function": {"name": "weather"}},
        ),
    ],
)
def test_which_tool_to_call(choice: dict[str, Any], found: Any) -> None:
    request = asked(tools=[TOOL], tool_choice=choice | {"disable_parallel_tool_use": True})
    assert sent(request)["tool_choice"] == found
    assert sent(request)["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("members", "effort"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 4000}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 31_999}}, "high"),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "xhigh"),
        ({"thinking": {"type": "disabled"}}, None),
        ({"thinking": {"type": "adaptive"}}, None),
    ],
)
def test_how_much_to_think_is_a_level(members: dict[str, Any], effort: str | None) -> None:
    assert asked(**members).document.get("reasoning_effort") == effort


def test_more_stop_sequences_than_openai_takes() -> None:
    stops = [str(number) for number in range(14)]
    assert sent(asked(stop_sequences=stops))["stop"] == stops


def test_the_limit_goes_under_the_name_that_the_target_takes() -> None:
    rules = TargetRules(OPENAI, limit_name="max_tokens")
    document = sent(bounded(asked(), rules, Allowance(bound=False, cap=None)))
    assert document["max_tokens"] == 5
    assert "max_completion_tokens" not in document


def test_what_only_advises_anthropics_servers_is_left_out() -> None:
    request = asked(
        tools=[TOOL | MARK],
        context_management={"edits": []},
        cache_control={"type": "ephemeral"},
        speed="standard",
        container=None,
    )
    assert set(sent(request)) == {"model", "messages", "max_completion_tokens", "tools"}


def test_a_schema_is_a_response_format() -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    found = sent(asked(output_config={"format": form}))["response_format"]
    assert found["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"container": "c"}, "container"),
        ({"speed": "fast"}, "speed"),
        ({"tools": [{"type": "web_search_20250305", "name": "w"}]}, "tools[0].type"),
        ({"thinking": {"type": "always"}}, "thinking.type"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "text"}}}, "output_config.format"),
        ({"tools": [TOOL], "tool_choice": {"type": "some"}}, "tool_choice.type"),
    ],
)
def test_what_chat_has_no_word_for_is_refused_by_name(more: dict[str, Any], param: str) -> None:
    assert wrong(**more) == ("unsupported_parameter", [param])


@pytest.mark.parametrize(
    ("messages", "more", "param"),
    [
        ([], {"max_tokens": None}, "max_tokens"),
        ([], {"max_tokens": 0}, "max_tokens"),
        ([], {"temperature": 1.5}, "temperature"),
        ([], {"stop_sequences": "x"}, "stop_sequences"),
        ([], {"messages": []}, "messages"),
        ([], {"messages": None}, "messages"),
        ([], {"system": 5}, "system"),
        ([{"role": "robot", "content": "x"}], {}, "messages[0].role"),
        ([{"role": "user"}], {}, "messages[0].content"),
        ([user("x")], {}, "messages[0].content[0]"),
        ([user({"type": "text"})], {}, "messages[0].content[0]"),
        ([user({"type": "video"})], {}, "messages[0].content[0].type"),
        ([user(IMAGE | {"source": {"type": "file"}})], {}, "messages[0].content[0].source"),
        ([user({"type": "document", "source": 5})], {}, "messages[0].content[0].source"),
        ([user({"type": "tool_result"})], {}, "messages[0].content[0].tool_use_id"),
        (
            [{"role": "assistant", "content": [CALL | {"input": "x"}]}],
            {},
            "messages[0].content[0]",
        ),
        (
            [{"role": "assistant", "content": [{"type": "server_tool_use"}]}],
            {},
            "messages[0].content[0].type",
        ),
    ],
)
def test_every_wrong_field_is_named_by_its_place(
    messages: list[Any], more: dict[str, Any], param: str
) -> None:
    code, params = wrong(*messages, **more)
    assert code == "invalid_request"
    assert params == [param]


def test_a_body_that_is_no_object_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        parse_messages(b"[]")
