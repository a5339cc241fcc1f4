"""A chat-only provider spoken to in completions: fan out, interleave, merge, stop together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
import pytest

from app.core.errors import InvalidRequest, UpstreamInvalid, UpstreamOverloaded, UpstreamTimeout
from app.core.reply import Chunk
from app.core.request import FanOut
from app.core.usage import Usage
from app.openai.completions.request import parse
from app.openai.output_limits import OPENAI
from app.providers.adapters.chat_only import ChatOnly
from app.providers.base import ChunkSink, Traits, UpstreamCall

USAGE = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
Act = Callable[[str], Awaitable[None]]


class Chat:
    """A provider in the test's hand: ``act`` runs within every call, with the prompt."""

    slug = "chat"

    def __init__(self, act: Act | None = None, unsupported: tuple[str, ...] = ()) -> None:
        self.traits = Traits(
            frozenset({"chat"}), dialect=OPENAI, unsupported=frozenset(unsupported)
        )
        self._act = act
        self.running = self.most = 0
        self.cancelled: list[str] = []
        self.began: list[str] = []

    async def aclose(self) -> None:
        return

    async def _work(self, prompt: str) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.began.append(prompt)
        try:
            if self._act is not None:
                await self._act(prompt)
        except asyncio.CancelledError:
            self.cancelled.append(prompt)
            raise
        finally:
            self.running -= 1

    async def answer(self, call: UpstreamCall) -> bytes:
        return orjson.dumps(await self._chat(call))

    async def _chat(self, call: UpstreamCall) -> dict[str, Any]:
        assert call.operation == "chat"
        call.tally.attempts += 1
        document = orjson.loads(call.request.body_for(call.model))
        prompt = document["messages"][0]["content"]
        await self._work(prompt)
        choices = [
            {"index": i, "message": {"content": f"{prompt}-{i}"}, "finish_reason": "stop"}
            for i in range(document.get("n", 1))
        ]
        return {"id": "chatcmpl-1", "choices": choices, "usage": USAGE}

    async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None:
        assert call.operation == "chat"
        call.tally.attempts += 1
        document = orjson.loads(call.request.body_for(call.model))
        prompt = document["messages"][0]["content"]
        for i in range(document.get("n", 1)):
            await sink.write([chunk(i, f"{prompt}-")])
        await self._work(prompt)
        for i in range(document.get("n", 1)):
            await sink.write([chunk(i, str(i), "stop")])
        await sink.write([Chunk.of({"choices": [], "usage": USAGE})], done=True)


def chunk(index: int, text: str, reason: str | None = None) -> Chunk:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": reason}
    return Chunk.of({"id": "chatcmpl-1", "choices": [choice]})


class Sink:
    """Takes what is written: the documents of all chunks, and whether each write was the last."""

    def __init__(self) -> None:
        self.chunks: list[dict[str, Any]] = []
        self.done: list[bool] = []

    async def write(self, chunks: Sequence[Chunk], *, done: bool = False) -> None:
        self.chunks += [item.document for item in chunks]
        self.done.append(done)


def call(**members: Any) -> UpstreamCall:
    return UpstreamCall(
        "completions", parse(orjson.dumps({"model": "m", "prompt": "p"} | members)), "up"
    )


async def complete(provider: Chat, made: UpstreamCall, fan_out: int = 8) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(await ChatOnly(provider, fan_out).answer(made))
    return document


async def stream(provider: Chat, made: UpstreamCall, fan_out: int = 8) -> list[dict[str, Any]]:
    sink = Sink()
    await ChatOnly(provider, fan_out).stream(made, sink)
    assert sink.done == [False] * (len(sink.done) - 1) + [True]
    return sink.chunks


def texts(chunks: list[dict[str, Any]]) -> dict[int, str]:
    found: dict[int, str] = {}
    for item in chunks:
        for choice in item["choices"]:
            found[choice["index"]] = found.get(choice["index"], "") + choice["text"]
    return found


ALL = {0: "a-0", 1: "a-1", 2: "b-0", 3: "b-1", 4: "c-0", 5: "c-1"}


def test_three_prompts_get_three_times_n_answers() -> None:
    document = asyncio.run(complete(Chat(), call(prompt=["a", "b", "c"], n=2)))
    assert {c["index"]: c["text"] for c in document["choices"]} == ALL
    assert document["usage"] == {"prompt_tokens": 6, "completion_tokens": 9, "total_tokens": 15}


def test_a_stream_has_them_all_too() -> None:
    chunks = asyncio.run(stream(Chat(), call(prompt=["a", "b", "c"], n=2, stream=True)))
    assert texts(chunks) == ALL
    reasons = [(c["index"], c["finish_reason"]) for i in chunks for c in i["choices"]]
    assert sorted(index for index, reason in reasons if reason) == sorted(ALL)


def test_a_stream_ends_with_the_sum_of_usage() -> None:
    chunks = asyncio.run(stream(Chat(), call(prompt=["a", "b"], stream=True)))
    assert chunks[-1] == {
        "choices": [],
        "usage": {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10},
    }
    assert not any("usage" in item for item in chunks[:-1])


def test_the_calls_of_a_stream_are_interleaved() -> None:
    shown: list[str] = []

    async def run() -> None:
        both = asyncio.Event()

        async def act(prompt: str) -> None:
            shown.append(prompt)
            if len(shown) == 2:
                both.set()
            await both.wait()  # neither call can end before the other has begun

        chunks = await stream(Chat(act), call(prompt=["a", "b"], stream=True))
        order = [choice["index"] for item in chunks for choice in item["choices"]]
        assert set(order[:2]) == {0, 1}

    asyncio.run(asyncio.wait_for(run(), 10))


@pytest.mark.parametrize("streamed", [False, True])
def test_never_more_calls_at_a_time_than_the_fan_out(streamed: bool) -> None:
    async def act(prompt: str) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    provider = Chat(act)
    made = call(prompt=[str(n) for n in range(12)], stream=streamed)
    asyncio.run((stream if streamed else complete)(provider, made, 3))
    assert provider.most == 3
    assert len(provider.began) == made.tally.attempts == 12


@pytest.mark.parametrize("streamed", [False, True])
def test_one_failure_cancels_the_others(streamed: bool) -> None:
    async def act(prompt: str) -> None:
        if prompt == "bad":
            raise UpstreamTimeout("late")
        await asyncio.Event().wait()

    provider = Chat(act)
    made = call(prompt=["a", "bad", "b"], stream=streamed)
    with pytest.raises(UpstreamTimeout):
        asyncio.run(asyncio.wait_for((stream if streamed else complete)(provider, made), 10))
    assert sorted(provider.cancelled) == [p for p in ["a", "b"] if p in provider.began]
    assert provider.running == 0


@pytest.mark.parametrize("streamed", [False, True])
def test_what_finished_before_a_failure_is_metered(streamed: bool) -> None:
    async def run() -> UpstreamCall:
        made = call(prompt=["good", "bad"], stream=streamed)

        async def act(prompt: str) -> None:
            while prompt == "bad" and made.tally.usage is None:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)
            if prompt == "bad":
                raise UpstreamOverloaded("no")

        with pytest.raises(UpstreamOverloaded):
            await (stream if streamed else complete)(Chat(act), made)
        return made

    assert asyncio.run(asyncio.wait_for(run(), 10)).tally.usage == Usage(2, 3)


@pytest.mark.parametrize("prompt", ["a", ["a", "b"]])
def test_an_answer_that_cannot_be_used_is_metered_all_the_same(prompt: Any) -> None:
    class Short(Chat):
        async def _chat(self, call: UpstreamCall) -> dict[str, Any]:
            return await super()._chat(call) | {"choices": []}

    made = call(prompt=prompt)
    with pytest.raises(UpstreamInvalid):
        asyncio.run(complete(Short(), made))
    assert made.tally.usage == Usage(2 * len(prompt), 3 * len(prompt))


@pytest.mark.parametrize("streamed", [False, True])
def test_a_cancelled_request_cancels_its_calls(streamed: bool) -> None:
    async def act(prompt: str) -> None:
        await asyncio.Event().wait()

    async def run(provider: Chat) -> None:
        before = len(asyncio.all_tasks())
        made = call(prompt=["a", "b"], stream=streamed)
        task = asyncio.ensure_future((stream if streamed else complete)(provider, made))  # type: ignore[arg-type]
        while provider.running < 2:  # noqa: ASYNC110 - one turn of the loop at a time
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(provider.cancelled) == ["a", "b"]
        assert len(asyncio.all_tasks()) == before

    asyncio.run(asyncio.wait_for(run(Chat(act)), 10))


def test_a_sink_that_cannot_use_a_chunk_ends_every_call() -> None:
    async def act(prompt: str) -> None:
        await asyncio.Event().wait()

    class Refusing(Sink):
        async def write(self, chunks: Sequence[Chunk], *, done: bool = False) -> None:
            await super().write(chunks, done=done)
            if len(self.chunks) == 2:
                raise UpstreamInvalid("no")

    async def run(provider: Chat) -> None:
        before = len(asyncio.all_tasks())
        with pytest.raises(UpstreamInvalid):
            await ChatOnly(provider, 8).stream(call(prompt=["a", "b"], stream=True), Refusing())
        assert provider.running == 0
        assert len(asyncio.all_tasks()) == before

    asyncio.run(asyncio.wait_for(run(Chat(act)), 10))


def test_calls_write_one_at_a_time() -> None:
    class Slow(Sink):
        writing = most = 0

        async def write(self, chunks: Sequence[Chunk], *, done: bool = False) -> None:
            self.writing += 1
            self.most = max(self.most, self.writing)
            await asyncio.sleep(0)
            self.writing -= 1

    sink = Slow()
    asyncio.run(ChatOnly(Chat(), 8).stream(call(prompt=["a", "b", "c"], stream=True), sink))
    assert sink.most == 1


@pytest.mark.parametrize("prompt", ["a", ["a", "b"]])
def test_a_cut_call_cuts_the_stream(prompt: Any) -> None:
    class Cut(Chat):
        async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None:
            await sink.write([chunk(0, "half")])

    with pytest.raises(UpstreamInvalid):
        asyncio.run(stream(Cut(), call(prompt=prompt, stream=True)))


@pytest.mark.parametrize("streamed", [False, True])
def test_what_chat_cannot_do_is_refused_before_any_call(streamed: bool) -> None:
    provider = Chat(unsupported=("seed",))
    made = call(prompt=[1, 2], seed=1, stream=streamed)
    with pytest.raises(InvalidRequest) as caught:
        asyncio.run((stream if streamed else complete)(provider, made))
    assert [problem.param for problem in caught.value.details] == ["prompt", "seed"]
    assert made.tally.attempts == 0


@pytest.mark.parametrize("streamed", [False, True])
def test_a_provider_without_n_is_asked_n_times(streamed: bool) -> None:
    provider = Chat(unsupported=("n",))
    made = call(prompt=["a", "b"], n=2, stream=streamed)
    asyncio.run((stream if streamed else complete)(provider, made))
    assert sorted(provider.began) == ["a", "a", "b", "b"]


@pytest.mark.parametrize("answer", [b"", b"[]", b"null", b"5", b"{", b"<html>"])
def test_a_chat_answer_that_is_no_object_is_refused(answer: bytes) -> None:
    class Odd(Chat):
        async def answer(self, call: UpstreamCall) -> bytes:
            return answer

    with pytest.raises(UpstreamInvalid):
        asyncio.run(complete(Odd(), call()))


@pytest.mark.parametrize(
    ("unsupported", "fan_out"), [((), FanOut(3, 1, 384)), (("n",), FanOut(6, 2, 768))]
)
def test_it_is_known_how_many_calls_a_request_makes(
    unsupported: tuple[str, ...], fan_out: FanOut
) -> None:
    bridge = ChatOnly(Chat(unsupported=unsupported), 8)
    assert bridge.fan_out(call(prompt=["a", "b", "c"], n=2).request) == fan_out


def test_a_chat_request_can_be_read_as_well_as_sent() -> None:
    made = call(prompt="a", stop=["x"], min_p=0.5, logprobs=2, stream=True)
    plan = ChatOnly(Chat(), 8).plan(made)
    [chat_call] = plan
    assert chat_call.request.document | {"model": "up"} == orjson.loads(
        chat_call.request.body_for("up")
    )
