"""What of a completion chat has under another name, has not, or cannot honour."""

from typing import Any

import pytest

from tests.harness.gateway import Gateway
from tests.harness.good_server import text_of, words_of
from tests.harness.prompts import PROMPT
from tests.harness.upstream import Upstream


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("prompt", ["a prompt ", ["a ", "b "]])
def test_echo_puts_the_prompt_before_each_choice(
    gateway: Gateway, upstream: Upstream, prompt: Any, stream: bool
) -> None:
    reply = gateway.complete(model="chat", prompt=prompt, n=2, echo=True, stream=stream)
    prompts = [prompt] if isinstance(prompt, str) else prompt
    got = reply.streamed_texts() if stream else dict(enumerate(reply.texts))
    assert got == {
        2 * p + i: text + text_of(text, i) for p, text in enumerate(prompts) for i in range(2)
    }
    assert all("echo" not in request.document for request in upstream.requests)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("k", [0, 1, 5])
def test_logprobs_come_in_the_legacy_shape(
    gateway: Gateway, upstream: Upstream, k: int, stream: bool
) -> None:
    reply = gateway.complete(model="chat", logprobs=k, stream=stream)
    merged: dict[str, list[Any]] = {}
    documents = reply.chunks if stream else [reply.document]
    for document in documents:
        for choice in document["choices"]:
            for name, values in (choice["logprobs"] or {}).items():
                merged.setdefault(name, []).extend(values)
    words = words_of(PROMPT, 0)
    assert merged["tokens"] == words
    assert merged["token_logprobs"] == [-0.25] * 3
    assert merged["text_offset"] == [0, len(words[0]), len(words[0] + words[1])]
    assert [len(top) for top in merged["top_logprobs"]] == [k, k, k]
    asked = upstream.request.document
    assert asked["logprobs"] is True
    assert asked.get("top_logprobs", 0) == k


@pytest.mark.parametrize("model", ["native", "chat"])
def test_every_choice_of_a_stream_has_its_own_logprobs(
    gateway: Gateway, upstream: Upstream, model: str
) -> None:
    reply = gateway.complete(model=model, prompt=["a", "bb"], n=2, logprobs=1, stream=True)
    tokens: dict[int, list[str]] = {}
    offsets: dict[int, list[int]] = {}
    for one in reply.chunks:
        for choice in one["choices"]:
            logprobs = choice["logprobs"] or {"tokens": [], "text_offset": []}
            tokens.setdefault(choice["index"], []).extend(logprobs["tokens"])
            offsets.setdefault(choice["index"], []).extend(logprobs["text_offset"])
    expected = {2 * p + i: words_of(["a", "bb"][p], i) for p in range(2) for i in range(2)}
    assert tokens == expected
    assert offsets == {
        index: [sum(map(len, words[:place])) for place in range(len(words))]
        for index, words in expected.items()
    }


def test_logprobs_are_not_asked_for_unasked(gateway: Gateway, upstream: Upstream) -> None:
    gateway.complete(model="chat")
    assert not {"logprobs", "top_logprobs"} & set(upstream.request.document)


PASSED_ON = {
    "stop": ["a", "b"],
    "seed": 5,
    "user": "someone",
    "frequency_penalty": 0.5,
    "presence_penalty": -0.5,
    "logit_bias": {"5": 1.5},
    "temperature": 0.7,
    "top_p": 0.9,
    "max_tokens": 5,
    "min_p": 0.05,
    "guided_json": {"type": "object"},
}


@pytest.mark.parametrize(("field", "value"), PASSED_ON.items())
def test_parameters_are_passed_on(
    gateway: Gateway, upstream: Upstream, field: str, value: Any
) -> None:
    assert gateway.complete(model="chat", **{field: value}).status == 200
    assert upstream.request.document[field] == value


def test_max_tokens_goes_under_the_providers_name(gateway: Gateway, upstream: Upstream) -> None:
    gateway.complete(model="poor-chat", max_tokens=5)
    assert upstream.request.document["max_completion_tokens"] == 5
    assert "max_tokens" not in upstream.request.document


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("logprobs", 1),
        ("seed", 5),
        ("logit_bias", {"5": 1}),
        ("frequency_penalty", 0.5),
        ("user", "someone"),
    ],
)
def test_what_the_provider_does_not_have_is_refused_by_name(
    gateway: Gateway, upstream: Upstream, field: str, value: Any
) -> None:
    reply = gateway.complete(model="poor-chat", **{field: value})
    assert reply.status == 400
    assert reply.error["code"] == "unsupported_parameter"
    assert reply.error["param"] == field
    assert upstream.requests == []


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"suffix": "end"}, {"suffix"}),
        ({"prompt": [1, 2]}, {"prompt"}),
        ({"prompt": [[1], [2]]}, {"prompt"}),
        ({"echo": True, "logprobs": 1}, {"echo", "logprobs"}),
        ({"suffix": "end", "prompt": [1]}, {"suffix", "prompt"}),
    ],
)
def test_what_chat_cannot_honour_is_refused_by_name(
    gateway: Gateway, upstream: Upstream, fields: Any, named: set[str], stream: bool
) -> None:
    reply = gateway.complete(model="chat", stream=stream, **fields)
    assert reply.status == 400
    assert reply.error["type"] == "invalid_request_error"
    assert reply.error["code"] == "unsupported_parameter"
    params = {detail["param"] for detail in reply.error["details"]}
    assert params & named
    assert "echo" in fields or params == named
    assert upstream.requests == []


def test_best_of_above_n_is_refused_where_nothing_ranks_the_choices(
    gateway: Gateway, upstream: Upstream
) -> None:
    reply = gateway.complete(model="poor-chat", n=1, best_of=2)
    assert reply.status == 400
    assert (reply.error["code"], reply.error["param"]) == ("unsupported_parameter", "best_of")


def test_best_of_equal_to_n_is_honoured(gateway: Gateway, upstream: Upstream) -> None:
    assert len(gateway.complete(model="chat", n=2, best_of=2).texts) == 2
    assert "best_of" not in upstream.request.document
