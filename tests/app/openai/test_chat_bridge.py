"""Completions on a chat-only model: nothing is dropped in silence, plain and streamed agree."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import InvalidRequest, UpstreamInvalid
from app.openai.chat_bridge import (
    ChatCall,
    ChatPlan,
    ChunkBridge,
    add_usage,
    completion_of,
    finish_reason,
    legacy_logprobs,
    refuse_unsupported,
)
from app.openai.completions.request import CompletionRequest, parse

NOW = 1_700_000_000


def request(**members: Any) -> CompletionRequest:
    return parse(orjson.dumps({"model": "m", "prompt": "p"} | members))


def calls(
    unsupported: tuple[str, ...] = (), field: str = "max_tokens", **members: Any
) -> list[ChatCall]:
    return list(ChatPlan(request(**members), frozenset(unsupported), field))


def bodies(unsupported: tuple[str, ...] = (), **members: Any) -> list[dict[str, Any]]:
    return [orjson.loads(call.request.body_for("up")) for call in calls(unsupported, **members)]


def refused(unsupported: tuple[str, ...] = (), **members: Any) -> list[str | None]:
    with pytest.raises(InvalidRequest) as caught:
        refuse_unsupported(request(**members), unsupported)
    assert (caught.value.status, caught.value.code) == (400, "unsupported_parameter")
    return [problem.param for problem in caught.value.details]


# What is asked of the chat endpoint


def test_a_prompt_becomes_one_user_message() -> None:
    assert bodies() == [
        {"model": "up", "messages": [{"role": "user", "content": "p"}], "max_tokens": 16}
    ]


def test_every_prompt_becomes_its_own_call() -> None:
    made = calls(prompt=["a", "b"], n=2)
    assert [orjson.loads(c.request.body_for("up"))["messages"][0]["content"] for c in made] == [
        "a",
        "b",
    ]
    assert [(c.first_index, c.choices) for c in made] == [(0, 2), (2, 2)]


def test_a_provider_without_n_is_called_n_times() -> None:
    made = calls(("n",), prompt=["a", "b"], n=2)
    assert [(c.first_index, c.choices) for c in made] == [(0, 1), (1, 1), (2, 1), (3, 1)]
    assert all("n" not in orjson.loads(c.request.body_for("up")) for c in made)


def test_messages_are_passed_on() -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    [body] = bodies(prompt=None, messages=messages)
    assert body["messages"] == messages


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stop", ["a", "b"]),
        ("stop", "a"),
        ("seed", 7),
        ("user", "u"),
        ("frequency_penalty", 1.5),
        ("presence_penalty", -1),
        ("logit_bias", {"5": 1}),
        ("temperature", 0),
        ("top_p", 0.5),
        ("min_p", 0.1),
        ("guided_json", {"a": 1}),
    ],
)
def test_a_parameter_is_passed_on(name: str, value: Any) -> None:
    assert bodies(**{name: value})[0][name] == value


@pytest.mark.parametrize(("asked", "sent"), [({}, 16), ({"max_tokens": 5}, 5)])
def test_max_tokens_goes_under_the_providers_name(asked: dict[str, Any], sent: int) -> None:
    [call] = calls((), "max_completion_tokens", **asked)
    body = orjson.loads(call.request.body_for("up"))
    assert body["max_completion_tokens"] == sent
    assert "max_tokens" not in body


def test_logprobs_are_asked_for_as_chat_asks() -> None:
    [body] = bodies(logprobs=3)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 3)


def test_logprobs_of_zero_are_the_chosen_tokens_alone() -> None:
    [body] = bodies(logprobs=0)
    assert body["logprobs"] is True
    assert "top_logprobs" not in body


def test_what_the_bridge_answers_itself_is_not_sent() -> None:
    [body] = bodies(echo=True, best_of=1)
    assert not {"prompt", "echo", "best_of", "suffix"} & set(body)


def test_what_is_said_of_the_stream_is_said_to_chat() -> None:
    [body] = bodies(stream=True, stream_options={"x": 1})
    assert body["stream"] is True
    assert body["stream_options"] == {"x": 1}


# What chat cannot do


@pytest.mark.parametrize(
    ("members", "params"),
    [
        ({"best_of": 2}, ["best_of"]),
        ({"n": 2, "best_of": 3}, ["best_of"]),
        ({"suffix": "s"}, ["suffix"]),
        ({"prompt": [1, 2]}, ["prompt"]),
        ({"prompt": [[1], [2]]}, ["prompt"]),
        ({"echo": True, "logprobs": 1}, ["logprobs"]),
        ({"max_tokens": 0}, ["max_tokens"]),
        ({"tools": []}, ["tools"]),
        ({"best_of": 2, "suffix": "s", "prompt": [1]}, ["best_of", "suffix", "prompt"]),
    ],
)
def test_what_chat_cannot_honour_is_refused_by_name(
    members: dict[str, Any], params: list[str]
) -> None:
    assert refused(**members) == params


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stop", "x"),
        ("seed", 1),
        ("user", "u"),
        ("logprobs", 1),
        ("logit_bias", {"5": 1}),
        ("temperature", 1),
        ("top_p", 1),
        ("frequency_penalty", 0.5),
        ("presence_penalty", -1),
    ],
)
def test_what_the_provider_has_not_is_refused_by_name(name: str, value: Any) -> None:
    assert refused((name,), **{name: value}) == [name]


def test_a_default_that_a_client_writes_out_is_no_demand() -> None:
    # LangChain sends these with every completion.
    members = {"frequency_penalty": 0, "presence_penalty": 0, "logit_bias": {}, "n": 1}
    refuse_unsupported(request(**members), tuple(members))


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"n": 3},
        {"n": 3, "best_of": 3},
        {"best_of": 0},
        {"echo": True},
        {"logprobs": 5},
        {"echo": False, "logprobs": 1},
        {"suffix": None},
        {"stop": []},
    ],
)
def test_what_chat_can_honour_is_not_refused(members: dict[str, Any]) -> None:
    refuse_unsupported(request(**members), ["n", "stop"])


# Plain answers


def chat(*contents: Any, **members: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-7",
        "object": "chat.completion",
        "created": 5,
        "model": "up-2",
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": content},
                "logprobs": None,
                "finish_reason": "stop",
            }
            for index, content in enumerate(contents)
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    } | members


def test_the_choices_of_all_calls_follow_the_index_rule() -> None:
    made = calls(prompt=["a", "b"], n=2)
    document = completion_of([(made[0], chat("a0", "a1")), (made[1], chat("b0", "b1"))], NOW)
    texts = [(choice["index"], choice["text"]) for choice in document["choices"]]
    assert texts == [(0, "a0"), (1, "a1"), (2, "b0"), (3, "b1")]


def test_choices_out_of_order_are_put_in_order() -> None:
    answer = chat("zero", "one")
    answer["choices"].reverse()
    document = completion_of([(calls(n=2)[0], answer)], NOW)
    assert [choice["text"] for choice in document["choices"]] == ["zero", "one"]


def test_echo_puts_the_prompt_before_each_choice() -> None:
    document = completion_of([(calls(echo=True, n=2)[0], chat("a", "b"))], NOW)
    assert [choice["text"] for choice in document["choices"]] == ["pa", "pb"]


def test_the_envelope_is_a_completions_one() -> None:
    document = completion_of([(calls()[0], chat("a", system_fingerprint="f"))], NOW)
    assert document["id"] == "cmpl-7"
    assert document["object"] == "text_completion"
    assert (document["created"], document["model"]) == (5, "up-2")
    assert document["system_fingerprint"] == "f"


def test_usage_is_summed_over_the_calls() -> None:
    made = calls(prompt=["a", "b"])
    usage = completion_of([(call, chat("x")) for call in made], NOW)["usage"]
    assert usage == {"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6}


def test_usage_that_one_call_lacks_is_not_made_up() -> None:
    made = calls(prompt=["a", "b"])
    assert "usage" not in completion_of([(made[0], chat("x")), (made[1], chat("x", usage=None))], 1)


def test_details_of_usage_are_summed_too() -> None:
    part = {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2, "audio": None}}
    assert add_usage([part, part, part]) == {
        "prompt_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 6, "audio": None},
    }


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 9)), min_size=1, max_size=5))
def test_a_sum_of_usage_is_the_sum_of_each_member(parts: list[dict[str, int]]) -> None:
    total = add_usage(list(parts))
    assert total == {name: sum(part.get(name, 0) for part in parts) for name in set().union(*parts)}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a", "a"),
        ("", ""),
        (None, ""),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([], ""),
    ],
)
def test_a_message_has_a_text(content: Any, text: str) -> None:
    document = completion_of([(calls()[0], chat(content))], NOW)
    assert document["choices"][0]["text"] == text


def test_a_refusal_is_the_text_where_there_is_no_other() -> None:
    answer = chat(None)
    answer["choices"][0]["message"]["refusal"] = "I will not."
    assert completion_of([(calls()[0], answer)], NOW)["choices"][0]["text"] == "I will not."


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("content_filter", "content_filter"),
        ("safety", "content_filter"),
        ("tool_calls", "stop"),
        ("function_call", "stop"),
        ("eos", "stop"),
        (None, None),
        ("", None),
    ],
)
def test_a_finish_reason_is_one_of_three(given: Any, reason: str | None) -> None:
    assert finish_reason(given) == reason


def with_choice(**members: Any) -> dict[str, Any]:
    answer = chat("a")
    answer["choices"][0] |= members
    return answer


RUBBISH: list[Any] = [
    chat("a", error={"message": "no"}),
    chat("a", choices=None),
    chat("a", choices={}),
    chat("a", choices=5),
    chat(),
    chat("a", "b"),
    chat("a", choices=["a"]),
    with_choice(message=None),
    with_choice(message="a"),
    with_choice(index=1),
    with_choice(index=-1),
    with_choice(index="0"),
    with_choice(index=True),
    with_choice(message={"content": 5}),
    with_choice(message={"content": {"text": "a"}}),
    with_choice(message={"content": [{"type": "text", "text": 5}]}),
    with_choice(message={"content": None, "refusal": 5}),
    with_choice(logprobs={"content": [{"token": 5}]}),
    with_choice(logprobs={"content": ["a"]}),
    with_choice(logprobs={"content": [{"token": "a", "logprob": -1, "top_logprobs": [{}]}]}),
    with_choice(logprobs={"content": [{"token": "a", "logprob": -1, "top_logprobs": ["x"]}]}),
    with_choice(logprobs={"content": [{"token": "a", "logprob": -1, "top_logprobs": 5}]}),
]


@pytest.mark.parametrize("answer", RUBBISH, ids=lambda answer: repr(answer)[70:160])
def test_rubbish_is_no_answer(answer: Any) -> None:
    with pytest.raises(UpstreamInvalid):
        completion_of([(calls()[0], answer)], NOW)


def test_two_choices_of_one_index_are_no_answer() -> None:
    answer = chat("a", "b")
    answer["choices"][1]["index"] = 0
    with pytest.raises(UpstreamInvalid):
        completion_of([(calls(n=2)[0], answer)], NOW)


# Log-probabilities


def test_chat_logprobs_become_legacy_ones() -> None:
    content = [
        {"token": "He", "logprob": -0.5, "top_logprobs": [{"token": "He", "logprob": -0.5}]},
        {"token": "é😀", "logprob": -1, "top_logprobs": []},
        {"token": "!", "logprob": -2},
    ]
    legacy, end = legacy_logprobs({"content": content}, 3)
    assert legacy == {
        "tokens": ["He", "é😀", "!"],
        "token_logprobs": [-0.5, -1, -2],
        "top_logprobs": [{"He": -0.5}, {}, {}],
        "text_offset": [3, 5, 7],
    }
    assert end == 8


@pytest.mark.parametrize("given", [None, {}, {"content": None}, {"content": []}, [], "x"])
def test_no_logprobs_are_null(given: Any) -> None:
    assert legacy_logprobs(given, 4) == (None, 4)


# Streams


def delta(content: Any = "", index: int = 0, reason: Any = None, **members: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": {"content": content}, "finish_reason": reason} | members
    return {
        "id": "chatcmpl-7",
        "object": "chat.completion.chunk",
        "created": 5,
        "model": "up-2",
        "choices": [choice],
    }


def test_a_chunk_that_says_nothing_is_left_out() -> None:
    bridge = ChunkBridge(calls()[0])
    assert bridge.chunk(delta("", delta={"role": "assistant"})) is None
    assert bridge.chunk({"choices": []}) is None


def test_each_choice_keeps_its_own_text_offset() -> None:
    bridge = ChunkBridge(calls(n=2)[0])
    offsets = []
    for index, token in [(0, "ab"), (1, "c"), (0, "d"), (1, "e")]:
        logprobs = {"content": [{"token": token, "logprob": -1}]}
        chunk = bridge.chunk(delta(token, index, logprobs=logprobs))
        assert chunk is not None
        offsets += chunk["choices"][0]["logprobs"]["text_offset"]
    assert offsets == [0, 0, 2, 1]


def test_echo_comes_once_and_first_on_every_choice() -> None:
    bridge = ChunkBridge(calls(echo=True, n=2)[0])
    seen = [bridge.chunk(delta("x", index)) for index in (0, 1, 0, 1)]
    assert [c and c["choices"][0]["text"] for c in seen] == ["px", "px", "x", "x"]


def test_the_usage_of_a_stream_is_kept_for_the_sum() -> None:
    bridge = ChunkBridge(calls()[0])
    bridge.chunk({"choices": [], "usage": {"prompt_tokens": 1}})
    assert bridge.usage == {"prompt_tokens": 1}


def test_a_cut_stream_is_noticed() -> None:
    bridge = ChunkBridge(calls(n=2)[0])
    bridge.chunk(delta("a", 0, "stop"))
    with pytest.raises(UpstreamInvalid):
        bridge.end()


def test_one_choice_has_stopped_when_the_upstream_says_done() -> None:
    bridge = ChunkBridge(calls()[0])
    bridge.chunk(delta("a", 0))
    with pytest.raises(UpstreamInvalid):
        bridge.end()
    closing = bridge.end(said_done=True)
    assert closing is not None
    assert closing["choices"] == [
        {"text": "", "index": 0, "logprobs": None, "finish_reason": "stop"}
    ]


def test_saying_done_makes_nothing_else_whole() -> None:
    two = ChunkBridge(calls(n=2)[0])
    two.chunk(delta("a", 0))
    for bridge in (two, ChunkBridge(calls()[0])):
        with pytest.raises(UpstreamInvalid):
            bridge.end(said_done=True)


def test_numbered_pieces_of_one_choice_are_put_together() -> None:
    bridge = ChunkBridge(calls()[0])
    seen = [bridge.chunk(delta(text, index)) for index, text in enumerate("abc")]
    assert [c and c["choices"][0]["index"] for c in seen] == [0, 0, 0]
    assert [c and c["choices"][0]["text"] for c in seen] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "chunk",
    [
        None,
        5,
        [],
        {"error": "no"},
        {"choices": 5},
        {"choices": True},
        {"choices": "x"},
        {"choices": {"a": 1}},
        {"choices": [None]},
        delta("a", 1),
        delta("a", -1),
        delta(5),
        delta([{"text": 5}]),
        delta("a", delta="x"),
        delta("a", logprobs={"content": [{"token": "a", "top_logprobs": [{}]}]}),
    ],
    ids=lambda chunk: repr(chunk)[:40],
)
def test_rubbish_breaks_a_stream(chunk: Any) -> None:
    with pytest.raises(UpstreamInvalid):
        ChunkBridge(calls()[0]).chunk(chunk)


PIECES = st.lists(st.text("abé😀\n ", max_size=3), max_size=5)
REASONS = st.sampled_from(["stop", "length", "content_filter", "tool_calls", "max_tokens", "eos"])


@st.composite
def conversations(draw: st.DrawFn) -> tuple[ChatCall, list[tuple[list[str], str]]]:
    """A call, and for each of its choices the pieces of text and the reason for the end."""
    prompts = draw(st.lists(st.text("xyé", max_size=3), min_size=1, max_size=3))
    n = draw(st.integers(1, 3))
    made = calls(prompt=prompts, n=n, echo=draw(st.booleans()))
    return draw(st.sampled_from(made)), [(draw(PIECES), draw(REASONS)) for _ in range(n)]


def logprobs_of(pieces: list[str]) -> dict[str, Any] | None:
    content = [
        {"token": p, "logprob": -1.5, "top_logprobs": [{"token": p, "logprob": -1.5}]}
        for p in pieces
    ]
    return {"content": content} if content else None


@settings(max_examples=120, deadline=None)
@given(conversations(), st.booleans(), st.data())
def test_plain_and_streamed_say_the_same(
    case: tuple[ChatCall, list[tuple[list[str], str]]], scored: bool, data: st.DataObject
) -> None:
    call, choices = case
    answer = chat(*("".join(pieces) for pieces, _ in choices))
    queues = []
    for index, (pieces, reason) in enumerate(choices):
        answer["choices"][index] |= {"finish_reason": reason}
        if scored:
            answer["choices"][index]["logprobs"] = logprobs_of(pieces)
        parts = [
            delta(piece, index, logprobs=logprobs_of([piece]) if scored else None)
            for piece in pieces
        ]
        queues.append([delta(None, index), *parts, delta(None, index, reason)])
    bridge = ChunkBridge(call)
    streamed: dict[int, dict[str, Any]] = {}
    while any(queues):
        queue = data.draw(st.sampled_from([queue for queue in queues if queue]))
        chunk = bridge.chunk(queue.pop(0))
        for choice in chunk["choices"] if chunk else ():
            whole = streamed.setdefault(
                choice["index"], {"text": "", "logprobs": None, "finish_reason": None}
            )
            whole["text"] += choice["text"]
            whole["finish_reason"] = choice["finish_reason"] or whole["finish_reason"]
            if choice["logprobs"] is not None:
                before = whole["logprobs"] or {name: [] for name in choice["logprobs"]}
                whole["logprobs"] = {k: before[k] + v for k, v in choice["logprobs"].items()}
    bridge.end()
    plain = completion_of([(call, answer)], NOW)["choices"]
    assert [{"index": index, **streamed[index]} for index in sorted(streamed)] == [
        {name: choice[name] for name in ("index", "text", "logprobs", "finish_reason")}
        for choice in plain
    ]
