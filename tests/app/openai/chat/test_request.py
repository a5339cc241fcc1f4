"""What may be asked of POST /v1/chat/completions, and what is forwarded of it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.core.errors import InvalidRequest
from app.openai.chat.messages import MAX_PROBLEMS
from app.openai.chat.request import CONTRACT, FIELDS, NESTED, ChatRequest, parse
from app.openai.chat.tools import MAX_TOOLS

USER = {"role": "user", "content": "Hi"}
BASE: dict[str, Any] = {"model": "m", "messages": [USER]}
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
URL = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}


def request(**members: Any) -> ChatRequest:
    return parse(orjson.dumps(BASE | members))


def wrong(**members: Any) -> list[str]:
    """The members that a refusal names."""
    with pytest.raises(InvalidRequest) as caught:
        request(**members)
    assert caught.value.status == 400
    error: Any = caught.value.envelope()["error"]
    assert error["param"] == error["details"][0]["param"]
    return [detail["param"] for detail in error["details"]]


# Every field by itself: what is right, and what is just outside or of another type.
RULES: dict[str, tuple[list[Any], list[Any]]] = {
    "model": (["m", "org/model:tag"], [1, True, [], {}, ""]),
    "max_tokens": ([1, 16.0, 10**9], [0, -1, 1.5, "1", True]),
    "max_completion_tokens": ([1, 16.0], [0, -1, 1.5, "1"]),
    "temperature": ([0, 2, 1.5], [-0.01, 2.01, "1"]),
    "top_p": ([0, 1], [-0.1, 1.1, True]),
    "n": ([1, 128, 2.0], [0, 129, 1.5, "1"]),
    "stream": ([True, False], [1, "true"]),
    "stop": (["a", ["a"], ["a"] * 4, []], [["a"] * 5, [1], 1, {}]),
    "logprobs": ([True, False], [1, "true"]),
    "frequency_penalty": ([-2, 2], [-2.1, 2.1]),
    "presence_penalty": ([-2, 2], [-2.1, 2.1]),
    "logit_bias": ([{}, {"1": -100, "2": 100}], [{"1": 101}, {"1": "a"}, []]),
    "seed": ([0, -1, 2**63], [1.5, "1"]),
    "reasoning_effort": (["high", "none"], [1, {}]),
    "verbosity": (["low"], [1, []]),
    "metadata": ([{}, {"a": "b"}], [{"a": 1}, {str(i): "" for i in range(17)}, "a"]),
    "store": ([True], ["yes"]),
    "service_tier": (["auto"], [1]),
    "safety_identifier": (["a"], [1]),
    "prompt_cache_key": (["a"], [1]),
    "web_search_options": ([{}], ["on"]),
    "user": (["a"], [1]),
    "modalities": ([["text"]], [[], ["video"], "text"]),
    "response_format": (
        [
            {"type": "text"},
            {"type": "json_object"},
            {"type": "json_schema", "json_schema": {"name": "a", "schema": {}, "strict": True}},
        ],
        ["json", {}, {"type": "xml"}],
    ),
    "tools": ([[TOOL], [TOOL] * MAX_TOOLS, []], [{}, [TOOL] * (MAX_TOOLS + 1)]),
    "functions": ([[{"name": "find"}], []], [{}]),
    "prediction": (
        [
            {"type": "content", "content": "a"},
            {"type": "content", "content": [{"type": "text", "text": "a"}]},
        ],
        ["a"],
    ),
}
PLACED = {"stream_options", "top_logprobs", "parallel_tool_calls", "tool_choice", "function_call"}


@pytest.mark.parametrize("name", RULES)
def test_a_field_takes_what_is_right_and_refuses_what_is_not(name: str) -> None:
    good, bad = RULES[name]
    for value in good:
        request(**{name: value})
    for value in bad:
        assert wrong(**{name: value})[0].startswith(name), value


def test_every_field_has_its_rule_tested() -> None:
    assert set(RULES) | PLACED | {"messages", "audio"} == CONTRACT
    assert set(FIELDS) & set(NESTED) == set()


@pytest.mark.parametrize("name", sorted(CONTRACT - {"model", "messages"}))
def test_null_is_absent_and_not_forwarded(name: str) -> None:
    made = request(**{name: None})
    assert name not in made.document
    assert name not in orjson.loads(made.body_for("up"))


def test_every_wrong_field_is_named() -> None:
    assert wrong(n=0, temperature=3, messages=[], tools=[{}]) == [
        "messages",
        "n",
        "temperature",
        "tools[0].type",
    ]


@pytest.mark.parametrize("name", ["model", "messages"])
def test_what_is_required(name: str) -> None:
    body = orjson.dumps({member: value for member, value in BASE.items() if member != name})
    with pytest.raises(InvalidRequest) as caught:
        parse(body)
    assert caught.value.param == name


PLACES = [
    ("messages", "Hi"),
    ("messages", []),
    ("messages[0]", ["Hi"]),
    ("messages[0].role", [{"content": "a"}]),
    ("messages[0].role", [{"role": "bob", "content": "a"}]),
    ("messages[0].role", [{"role": ["user"], "content": "a"}]),
    ("messages[0].content", [{"role": "user"}]),
    ("messages[0].content", [{"role": "user", "content": None}]),
    ("messages[0].content", [{"role": "user", "content": 1}]),
    ("messages[0].content", [{"role": "user", "content": []}]),
    ("messages[0].content[0]", [{"role": "user", "content": ["a"]}]),
    ("messages[0].content[0]", [{"role": "user", "content": [{"text": "a"}]}]),
    ("messages[0].content[0].text", [{"role": "user", "content": [{"type": "text"}]}]),
    ("messages[0].content[0].image_url", [{"role": "user", "content": [{"type": "image_url"}]}]),
    (
        "messages[0].content[0].image_url.url",
        [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
    ),
    (
        "messages[0].content[0].image_url.detail",
        [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "u", "detail": "x"}}],
            }
        ],
    ),
    (
        "messages[0].content[0].input_audio.format",
        [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "a"}}]}],
    ),
    (
        "messages[0].content[0].file",
        [{"role": "user", "content": [{"type": "file", "file": {"filename": "a"}}]}],
    ),
    ("messages[0].content[0].type", [{"role": "system", "content": [URL]}]),
    (
        "messages[0].content[0].type",
        [{"role": "user", "content": [{"type": "refusal", "refusal": "no"}]}],
    ),
    ("messages[0].name", [{"role": "user", "content": "a", "name": 1}]),
    ("messages[0].content", [{"role": "assistant"}]),
    ("messages[0].tool_calls", [{"role": "assistant", "content": "a", "tool_calls": {}}]),
    ("messages[0].tool_calls[0]", [{"role": "assistant", "tool_calls": ["a"]}]),
    ("messages[0].tool_calls[0].id", [{"role": "assistant", "tool_calls": [CALL | {"id": None}]}]),
    ("messages[0].tool_calls[0].type", [{"role": "assistant", "tool_calls": [CALL | {"type": 1}]}]),
    (
        "messages[0].tool_calls[0].function.arguments",
        [{"role": "assistant", "tool_calls": [CALL | {"function": {"name": "a"}}]}],
    ),
    ("messages[0].refusal", [{"role": "assistant", "content": "a", "refusal": 1}]),
    ("messages[0].audio.id", [{"role": "assistant", "audio": {"at": 1}}]),
    ("messages[0].function_call.name", [{"role": "assistant", "function_call": {"arguments": ""}}]),
    ("messages[0].tool_call_id", [{"role": "tool", "content": "a"}]),
    ("messages[0].name", [{"role": "function", "content": "a"}]),
]


@pytest.mark.parametrize(("place", "messages"), PLACES)
def test_a_wrong_message_is_named_by_its_place(place: str, messages: Any) -> None:
    assert wrong(messages=messages)[0] == place


RIGHT: list[list[dict[str, Any]]] = [
    [{"role": role, "content": "a"} for role in ("developer", "system", "user", "assistant")],
    [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}],
    [{"role": "tool", "content": "a", "tool_call_id": "c1"}],
    [{"role": "tool", "content": [{"type": "text", "text": "a"}], "tool_call_id": "c1"}],
    [{"role": "function", "name": "find", "content": None}],
    [{"role": "assistant", "function_call": {"name": "a", "arguments": "{}"}}],
    [{"role": "assistant", "audio": {"id": "a1"}}],
    [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
    [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": ""},
                URL,
                {"type": "input_audio", "input_audio": {"data": "a", "format": "wav"}},
                {"type": "file", "file": {"file_id": "f"}},
                {"type": "video_url", "video_url": {"url": "u"}},
            ],
        }
    ],
    [
        {
            "role": "assistant",
            "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "a", "input": ""}}],
        }
    ],
]


@pytest.mark.parametrize("messages", RIGHT)
def test_a_right_conversation_passes_untouched(messages: list[dict[str, Any]]) -> None:
    made = request(messages=messages)
    assert orjson.loads(made.body_for("up")) == {"model": "up", "messages": messages}


def test_a_thousand_wrong_messages_are_not_all_named() -> None:
    assert len(wrong(messages=[{}] * 1000)) == MAX_PROBLEMS


COMBINED: list[tuple[list[str], dict[str, Any]]] = [
    (["max_tokens"], {"max_tokens": 5, "max_completion_tokens": 6}),
    (["top_logprobs"], {"top_logprobs": 1}),
    (["top_logprobs"], {"top_logprobs": 0, "logprobs": False}),
    (["top_logprobs"], {"top_logprobs": 21, "logprobs": True}),
    (["stream_options"], {"stream_options": {"include_usage": True}}),
    (["stream_options.include_usage"], {"stream": True, "stream_options": {"include_usage": 1}}),
    (["tool_choice"], {"tool_choice": "auto"}),
    (["tool_choice"], {"tool_choice": "auto", "tools": []}),
    (["tool_choice"], {"tool_choice": "sometimes", "tools": [TOOL]}),
    (["tool_choice.type"], {"tool_choice": {"type": "x"}, "tools": [TOOL]}),
    (
        ["tool_choice.function.name"],
        {"tool_choice": {"type": "function", "function": {"name": "other"}}, "tools": [TOOL]},
    ),
    (["tool_choice.allowed_tools"], {"tool_choice": {"type": "allowed_tools"}, "tools": [TOOL]}),
    (["parallel_tool_calls"], {"parallel_tool_calls": False}),
    (["function_call"], {"function_call": "auto"}),
    (["function_call.name"], {"function_call": {"name": "b"}, "functions": [{"name": "a"}]}),
    (["audio"], {"modalities": ["text", "audio"]}),
    (["audio.voice", "audio.format"], {"modalities": ["audio"], "audio": {}}),
    (["tools[0].function.name"], {"tools": [TOOL | {"function": {"name": "a b"}}]}),
    (
        ["tools[0].function.parameters", "tools[0].function.strict"],
        {"tools": [TOOL | {"function": {"name": "a", "parameters": [], "strict": 1}}]},
    ),
    (
        ["response_format.json_schema"] * 1,
        {"response_format": {"type": "json_schema", "json_schema": "a"}},
    ),
    (
        ["response_format.json_schema.name", "response_format.json_schema.schema"],
        {"response_format": {"type": "json_schema", "json_schema": {"schema": 1}}},
    ),
    (["prediction.type", "prediction.content"], {"prediction": {"content": 1}}),
]


@pytest.mark.parametrize(("named", "members"), COMBINED)
def test_what_does_not_go_together_is_named(named: list[str], members: dict[str, Any]) -> None:
    assert wrong(**members) == named


def test_what_goes_together() -> None:
    request(max_tokens=5, max_completion_tokens=5)
    request(logprobs=True, top_logprobs=20)
    request(stream=True, stream_options={"include_usage": True})
    for choice in ("none", "auto", "required", {"type": "function", "function": {"name": "find"}}):
        request(tools=[TOOL], tool_choice=choice, parallel_tool_calls=False)
    allowed = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "find"}}]}
    request(tools=[TOOL], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    request(functions=[{"name": "a"}], function_call={"name": "a"})
    request(modalities=["text", "audio"], audio={"voice": "alloy", "format": "wav"})


def test_unknown_members_are_forwarded_as_they_were_written() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"\\u0048i"}],"min_p":0.050,"x":null}'
    assert parse(body).body_for("up") == (
        b'{"model":"up","messages":[{"role":"user","content":"\\u0048i"}],"min_p":0.050,"x":null}'
    )


def test_the_newer_limit_wins_and_a_limit_is_said_once() -> None:
    assert request(max_completion_tokens=7).max_tokens == 7
    assert request().max_tokens is None
    limited = request(max_tokens=9, max_completion_tokens=9, n_predict=3)
    sent = orjson.loads(limited.limited_to(5, "max_tokens", ["n_predict"]).body_for("up"))
    assert sent == BASE | {"model": "up", "max_tokens": 5}
    assert limited.limited_to(5, "max_completion_tokens").max_tokens == 5


@pytest.mark.parametrize("url", ["https://x/y.png", "HTTP://x", "file:///etc/passwd"])
def test_what_stands_elsewhere_is_not_cacheable(url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    assert not request(messages=[{"role": "user", "content": [part]}]).cacheable


def test_what_stands_in_the_request_is_cacheable() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert request(messages=[{"role": "user", "content": [part]}]).cacheable
    assert request().cacheable
