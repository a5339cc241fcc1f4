"""The simulator as a provider: real in time, honest in its counts, and named for what it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from app.config.providers import SimulatedFailure
from app.config.providers import SimulatorProvider as Settings
from app.config.values.quantities import Duration
from app.core.errors import GatewayError, UpstreamInvalid, UpstreamOverloaded, UpstreamTimeout
from app.core.reply import Chunk
from app.openai.completions.request import parse
from app.openai.completions.stream import StreamShaper
from app.providers.adapters.chat_only import ChatOnly
from app.providers.base import UpstreamCall
from app.providers.simulator.provider import SimulatorProvider
from app.providers.simulator.text import tokens_of


def provider(**settings: Any) -> SimulatorProvider:
    return SimulatorProvider("trial", Settings(**settings))


def call(model: str = "simulator-1", **members: Any) -> UpstreamCall:
    return UpstreamCall(
        "completions", parse(orjson.dumps({"model": "m", "prompt": "p q"} | members)), model
    )


def answer(made: UpstreamCall, **settings: Any) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(asyncio.run(provider(**settings).answer(made)))
    return document


class Sink:
    """Takes what is written, and notes when."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.times: list[float] = []
        self.done: list[bool] = []

    async def write(self, chunks: Sequence[Chunk], *, done: bool = False) -> None:
        self.chunks += chunks
        self.times.append(time.perf_counter())
        self.done.append(done)


async def written(made: UpstreamCall, of: Any) -> list[Chunk]:
    sink = Sink()
    await of.stream(made, sink)
    assert sink.done == [False] * (len(sink.done) - 1) + [True]
    return sink.chunks


async def chunks_of(made: UpstreamCall, of: Any) -> list[dict[str, Any]]:
    return [chunk.document for chunk in await written(made, of)]


def test_the_model_says_that_it_is_a_simulator() -> None:
    assert answer(call("simulator-1"))["model"] == "simulator-1"
    assert "simulator" in answer(call("gpt-5"))["model"]


def test_its_answer_is_a_completion() -> None:
    document = answer(call(prompt=["a", "b"], n=2, max_tokens=3))
    assert document["id"].startswith("cmpl-")
    assert document["object"] == "text_completion"
    assert [choice["index"] for choice in document["choices"]] == [0, 1, 2, 3]
    assert {choice["finish_reason"] for choice in document["choices"]} == {"length"}


@pytest.mark.parametrize(
    ("members", "prompt_tokens", "completion_tokens"),
    [
        ({"prompt": [1, 2, 3], "max_tokens": 2}, 3, 2),
        ({"prompt": [[1], [2, 3]], "max_tokens": 2}, 3, 4),
        ({"prompt": ["a", "b"], "n": 3, "max_tokens": 2}, 2, 12),
        ({"prompt": "", "max_tokens": 0}, 0, 0),
        ({"prompt": [5, 6], "max_tokens": 0, "echo": True}, 2, 0),
    ],
)
def test_its_counts_are_honest(
    members: dict[str, Any], prompt_tokens: int, completion_tokens: int
) -> None:
    usage = answer(call(**members))["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (
        prompt_tokens,
        completion_tokens,
    )


REQUESTS: list[dict[str, Any]] = [
    {},
    {"n": 3},
    {"prompt": ["a", "b c"], "n": 2},
    {"echo": True},
    {"echo": True, "logprobs": 2, "prompt": "a b c"},
    {"echo": True, "logprobs": 1, "prompt": ""},
    {"logprobs": 0},
    {"prompt": [[1, 2], [3]], "echo": True, "logprobs": 1},
    {"max_tokens": 0, "echo": True, "logprobs": 1},
    {"max_tokens": 0},
    {"stop": [" a", " the", "e"], "max_tokens": 50},
]


@pytest.mark.parametrize("members", REQUESTS, ids=repr)
def test_streamed_and_plain_are_the_same(members: dict[str, Any]) -> None:
    whole = answer(call(**members))
    streamed: dict[int, dict[str, Any]] = {}
    for item in asyncio.run(chunks_of(call(**members, stream=True), provider())):
        for part in item["choices"]:
            choice = streamed.setdefault(
                part["index"],
                {"text": "", "index": part["index"], "logprobs": None, "finish_reason": None},
            )
            choice["text"] += part["text"]
            choice["finish_reason"] = choice["finish_reason"] or part["finish_reason"]
            if part["logprobs"] is not None:
                before = choice["logprobs"] or {name: [] for name in part["logprobs"]}
                choice["logprobs"] = {k: before[k] + v for k, v in part["logprobs"].items()}
    assert [streamed[index] for index in sorted(streamed)] == whole["choices"]


@pytest.mark.parametrize("members", REQUESTS, ids=repr)
def test_its_stream_passes_the_gateways_own_rules(members: dict[str, Any]) -> None:
    made = call(**members, stream=True)
    shaper = StreamShaper(made.request, "up", 1)
    for item in asyncio.run(written(made, provider())):
        shaper.shape(item)
    assert not shaper.end().usage.estimated


@pytest.mark.parametrize("members", [{}, {"prompt": ["a", "b"], "n": 2, "logprobs": 2}])
def test_its_chat_endpoint_answers_completions_too(members: dict[str, Any]) -> None:
    over_chat = ChatOnly(provider(), 8)
    whole = orjson.loads(asyncio.run(over_chat.answer(call(**members))))
    streamed = asyncio.run(chunks_of(call(**members, stream=True), over_chat))
    texts: dict[int, str] = {}
    for item in streamed:
        for part in item["choices"]:
            texts[part["index"]] = texts.get(part["index"], "") + part["text"]
    assert [texts[c["index"]] for c in whole["choices"]] == [c["text"] for c in whole["choices"]]


def test_the_first_prompt_token_has_no_logprob() -> None:
    logprobs = answer(call(prompt="a b", echo=True, logprobs=1))["choices"][0]["logprobs"]
    assert logprobs["token_logprobs"][0] is logprobs["top_logprobs"][0] is None
    assert None not in logprobs["token_logprobs"][1:]
    assert logprobs["tokens"][:2] == tokens_of("a b")


def test_text_offsets_point_into_the_text() -> None:
    choice = answer(call(prompt="a b", echo=True, logprobs=1))["choices"][0]
    logprobs = choice["logprobs"]
    for token, offset in zip(logprobs["tokens"], logprobs["text_offset"], strict=True):
        assert choice["text"][offset:].startswith(token)


def test_latency_passes_before_the_first_token() -> None:
    began = time.perf_counter()
    answer(call(), latency=Duration(0.05))
    assert time.perf_counter() - began >= 0.05


def test_latency_counts_as_waiting_for_the_upstream() -> None:
    made = call()
    answer(made, latency=Duration(0.05))
    assert made.tally.waited >= 0.05


def test_tokens_come_at_the_configured_speed() -> None:
    sink = Sink()
    asyncio.run(provider(tokens_per_second=200).stream(call(stream=True, max_tokens=10), sink))
    times = sink.times
    assert times[-1] - times[0] >= 10 / 200 * 0.9
    assert len(times) >= 10


def test_a_plain_answer_takes_as_long_as_its_tokens() -> None:
    began = time.perf_counter()
    answer(call(max_tokens=10), tokens_per_second=200)
    assert time.perf_counter() - began >= 10 / 200 * 0.9


@pytest.mark.parametrize("streamed", [False, True])
def test_at_a_failure_rate_of_one_every_call_fails(streamed: bool) -> None:
    made = call(stream=streamed)
    failing = provider(failure_rate=1.0)
    with pytest.raises(UpstreamOverloaded):
        asyncio.run(chunks_of(made, failing) if streamed else failing.answer(made))  # type: ignore[arg-type]
    assert made.tally.attempts == 1


def test_at_a_failure_rate_of_zero_none_does() -> None:
    assert all(answer(call()) for _ in range(20))


# Scripted failures


def failing(**failure: Any) -> SimulatorProvider:
    return provider(failures=(SimulatedFailure(share=1, **failure),))


@pytest.mark.parametrize(
    ("failure", "status", "wait"),
    [
        ({"status": 500}, 500, None),
        ({"status": 429, "retry_after": Duration(2)}, 429, 2.0),
        ({"reset": True}, None, None),
        ({"cut_after": 2}, None, None),
    ],
)
def test_a_scripted_failure_is_what_an_upstreams_would_be(
    failure: dict[str, Any], status: int | None, wait: float | None
) -> None:
    with pytest.raises(GatewayError) as caught:
        asyncio.run(failing(**failure).answer(call()))
    assert (caught.value.answered, caught.value.wait) == (status, wait)


def test_a_stream_is_cut_where_the_script_says() -> None:
    sink = Sink()
    with pytest.raises(UpstreamInvalid):
        asyncio.run(failing(cut_after=2).stream(call(stream=True), sink))
    assert len(sink.chunks) == 2


def test_a_late_answer_meets_the_time_limit_of_the_call() -> None:
    late = call()
    late.timeouts = {"first_byte": 0.01}
    with pytest.raises(UpstreamTimeout):
        asyncio.run(failing(latency=Duration(5)).answer(late))


def test_shares_are_of_all_calls() -> None:
    found = provider(
        failures=(SimulatedFailure(share=0.3, status=500), SimulatedFailure(share=0.2, status=503))
    )

    async def results() -> list[int | None]:
        made: list[int | None] = []
        for _ in range(2_000):
            try:
                await found.answer(call(max_tokens=1))
                made.append(None)
            except GatewayError as error:
                made.append(error.answered)
        return made

    made = asyncio.run(results())
    assert made.count(500) / 2_000 == pytest.approx(0.3, abs=0.06)
    assert made.count(503) / 2_000 == pytest.approx(0.2, abs=0.06)
