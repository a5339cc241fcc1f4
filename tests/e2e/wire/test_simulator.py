"""The provider in process: deterministic, honest in its counts, and open about what it is."""

from typing import Any

import pytest

from tests.harness.gateway import Gateway


def test_the_same_request_gets_the_same_text(gateway: Gateway) -> None:
    assert gateway.complete(model="sim").texts == gateway.complete(model="sim").texts


def test_another_prompt_gets_another_text(gateway: Gateway) -> None:
    first = gateway.complete(model="sim", prompt="a").texts
    assert first != gateway.complete(model="sim", prompt="b").texts


@pytest.mark.parametrize(
    ("model", "prompt"),
    [
        ("sim", "a"),
        ("sim", ["a", "b"]),
        ("sim", [1, 2, 3]),
        ("sim", [[1, 2], [3]]),
        ("sim-chat", "a"),
        ("sim-chat", ["a", "b"]),  # chat models take no token ids
    ],
)
def test_a_stream_says_what_a_plain_answer_says(gateway: Gateway, model: str, prompt: Any) -> None:
    fields = {"model": model, "prompt": prompt, "n": 2, "max_tokens": 30}
    plain = gateway.complete(**fields)
    streamed = gateway.complete(stream=True, **fields)
    assert streamed.streamed_texts() == dict(enumerate(plain.texts))


@pytest.mark.parametrize("max_tokens", [0, 1, 7])
def test_its_counts_are_honest(gateway: Gateway, max_tokens: int) -> None:
    document = gateway.complete(model="sim", prompt=[5, 6, 7], max_tokens=max_tokens).document
    assert document["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": max_tokens,
        "total_tokens": 3 + max_tokens,
    }
    assert document["choices"][0]["finish_reason"] == "length"


def test_sixteen_tokens_are_the_default(gateway: Gateway) -> None:
    usage = gateway.complete(model="sim", prompt=[5]).document["usage"]
    assert usage["completion_tokens"] == 16


@pytest.mark.parametrize("model", ["sim", "sim-plain-name"])
def test_it_says_that_it_is_a_simulator(gateway: Gateway, model: str) -> None:
    reply = gateway.complete(model=model)
    assert "simulator" in reply.document["model"]
    assert "simulator" in reply.headers["x-model"]


def test_it_echoes_and_gives_logprobs(gateway: Gateway) -> None:
    choice = gateway.complete(
        model="sim", prompt="one two", echo=True, logprobs=2, max_tokens=3
    ).document["choices"][0]
    assert choice["text"].startswith("one two")
    logprobs = choice["logprobs"]
    assert "".join(logprobs["tokens"]) == choice["text"]
    assert logprobs["token_logprobs"][0] is None
    starts = [sum(map(len, logprobs["tokens"][:i])) for i in range(len(logprobs["tokens"]))]
    assert logprobs["text_offset"] == starts


def test_it_stops_where_it_is_told(gateway: Gateway) -> None:
    whole = gateway.complete(model="sim", max_tokens=20).texts[0]
    stop = whole.split()[3]
    cut = gateway.complete(model="sim", max_tokens=20, stop=[stop]).document["choices"][0]
    assert cut["text"] == whole[: whole.index(stop)]
    assert cut["finish_reason"] == "stop"
