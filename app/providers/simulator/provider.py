"""The ``simulator`` kind: a provider in process, for trying the gateway and for load tests.

Latency, speed and failures are real in time: tokens are sent one by one as they are "generated".
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from time import time
from typing import Any

import orjson

from app.config.providers import SimulatedFailure
from app.config.providers import SimulatorProvider as Settings
from app.core.errors import UpstreamInvalid, UpstreamTimeout
from app.core.reply import Chunk
from app.core.usage import Usage
from app.openai.completions.answer import ID_PREFIX, OBJECT
from app.openai.completions.request import CompletionRequest
from app.openai.output_limits import OPENAI
from app.providers.base import ChunkSink, Traits, UpstreamCall
from app.providers.simulator import chat as simulated_chat
from app.providers.simulator import vectors as simulated_vectors
from app.providers.simulator.failures import at_random, drawn, error_of
from app.providers.simulator.text import Choice, Token, generate, tokens_of

TURN = 16  # choices generated at a stretch


class SimulatorProvider:
    """Answers completions, chat and embeddings from the request alone."""

    def __init__(self, slug: str, settings: Settings) -> None:
        self.slug = slug
        # It reads `max_tokens` alone, and is held to OpenAI's rules so that what was tried on it
        # works elsewhere.
        operations = frozenset({"completions", "chat", "embeddings"})
        self.traits = Traits(operations=operations, dialect=OPENAI)
        self._latency = float(settings.latency)
        self._pause = 1 / settings.tokens_per_second if settings.tokens_per_second else 0.0
        self._failure_rate = settings.failure_rate
        self._failures = settings.failures

    async def answer(self, call: UpstreamCall) -> bytes:
        failure = await self._think(call)
        if failure is not None and failure.cut_after is not None:
            raise UpstreamInvalid("The simulator cut its answer off, as it was configured to.")
        match call.operation:
            case "chat":
                return await self._chat(call)
            case "embeddings":
                return await self._embed(call)
            case _:
                return await self._complete(call)

    async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None:
        failure = await self._think(call)
        if failure is not None and failure.cut_after is not None:
            sink = CutSink(sink, failure.cut_after)
        if call.operation == "chat":
            await self._stream_chat(call, sink)
        else:
            await self._stream_completion(call, sink)

    @property
    def trouble(self) -> str | None:
        return None

    async def aclose(self) -> None:
        return

    async def _complete(self, call: UpstreamCall) -> bytes:
        document = call.request.document
        choices = await _choices(call)
        if self._pause:
            await self._wait(call, self._pause * max(len(choice.generated) for choice in choices))
        body = {
            **_envelope(call),
            "choices": [
                {
                    "text": "".join(token.text for token in choice.echoed + choice.generated),
                    "index": index,
                    "logprobs": _logprobs(document, choice.echoed + choice.generated, 0, True),
                    "finish_reason": choice.finish_reason,
                }
                for index, choice in enumerate(choices)
            ],
            "usage": _usage(call, choices).document(),
        }
        return orjson.dumps(body)

    async def _stream_completion(self, call: UpstreamCall, sink: ChunkSink) -> None:
        document = call.request.document
        choices = await _choices(call)
        envelope = _envelope(call)
        offsets = [0] * len(choices)
        steps = max(len(choice.generated) for choice in choices)
        for step in range(-1, steps + 1):
            chunks = []
            for index, choice in enumerate(choices):
                tokens, ended = _step(choice, step)
                if not tokens and not ended:
                    continue
                text = "".join(token.text for token in tokens)
                first = offsets[index] == 0
                part = {
                    "text": text,
                    "index": index,
                    "logprobs": _logprobs(document, tokens, offsets[index], first),
                    "finish_reason": choice.finish_reason if ended else None,
                }
                offsets[index] += len(text)
                chunks.append(Chunk.of(envelope | {"choices": [part]}))
            if chunks:
                await sink.write(chunks)
            if self._pause and step >= 0:
                await self._wait(call, self._pause)
        usage = _usage(call, choices).document()
        await sink.write([Chunk.of(envelope | {"choices": [], "usage": usage})], done=True)

    async def _chat(self, call: UpstreamCall) -> bytes:
        document = call.request.document
        choices = simulated_chat.choices(document)
        if self._pause:
            await self._wait(call, self._pause * max(choice.size for choice in choices))
        body = {
            **_chat_envelope(call),
            "object": "chat.completion",
            "choices": [
                {
                    "index": index,
                    "message": simulated_chat.message(choice, _call_id(call, index)),
                    "logprobs": simulated_chat.logprobs(document, choice.tokens),
                    "finish_reason": choice.finish_reason,
                }
                for index, choice in enumerate(choices)
            ],
            "usage": _chat_usage(document, choices).document(),
        }
        return orjson.dumps(body)

    async def _stream_chat(self, call: UpstreamCall, sink: ChunkSink) -> None:
        document = call.request.document
        choices = simulated_chat.choices(document)
        envelope = _chat_envelope(call)
        running = {
            index: simulated_chat.deltas(choice, _call_id(call, index))
            for index, choice in enumerate(choices)
        }
        while running:
            chunks = []
            for index, deltas in list(running.items()):
                delta, tokens = next(deltas, ({}, []))
                if not delta:
                    del running[index]
                part = {
                    "index": index,
                    "delta": delta,
                    "logprobs": simulated_chat.logprobs(document, tokens),
                    "finish_reason": None if delta else choices[index].finish_reason,
                }
                chunks.append(Chunk.of(envelope | {"choices": [part]}))
            await sink.write(chunks)
            if self._pause and running:
                await self._wait(call, self._pause)
        usage = _chat_usage(document, choices).document()
        await sink.write([Chunk.of(envelope | {"choices": [], "usage": usage})], done=True)

    async def _embed(self, call: UpstreamCall) -> bytes:
        return simulated_vectors.answer(call.request.document, _name(call))

    async def _wait(self, call: UpstreamCall, seconds: float) -> None:
        call.tally.waited += seconds
        await asyncio.sleep(seconds)

    async def _think(self, call: UpstreamCall) -> SimulatedFailure | None:
        """Take the time to a first byte; how the answer will fail, if later than that."""
        call.tally.attempts += 1
        call.tally.unknown += 1
        failure = drawn(self._failures)
        latency = self._latency + float((failure and failure.latency) or 0)
        most = (call.timeouts or {}).get("first_byte")
        if most is not None and latency > most:
            await self._wait(call, most)
            raise UpstreamTimeout("The simulator did not answer in time.")
        if latency:
            await self._wait(call, latency)
        error = error_of(failure) if failure is not None else None
        if self._failure_rate and random.random() < self._failure_rate:  # noqa: S311 - a test aid
            error = at_random()
        if error is not None:
            call.tally.unknown -= 1
            raise error
        return failure


class CutSink:
    """Passes some writes on, then cuts the stream off."""

    def __init__(self, sink: ChunkSink, after: int) -> None:
        self._sink = sink
        self._left = after

    async def write(self, chunks: Sequence[Chunk], *, done: bool = False) -> None:
        if not self._left:
            raise UpstreamInvalid("The simulator cut its stream off, as it was configured to.")
        self._left -= 1
        await self._sink.write(chunks, done=done)


async def _choices(call: UpstreamCall) -> list[Choice]:
    """Every choice of a request; the loop gets its turn in between."""
    request = call.request
    assert isinstance(request, CompletionRequest)
    choices: list[Choice] = []
    for prompt in request.prompts:
        for i in range(request.n):
            choices.append(generate(request.document, prompt, i))
            if len(choices) % TURN == 0:
                await asyncio.sleep(0)
    return choices


def _step(choice: Choice, step: int) -> tuple[list[Token], bool]:
    """The tokens of a choice at a step (-1 is the echo), and whether it ends there."""
    if step < 0:
        return choice.echoed, False
    return choice.generated[step : step + 1], step == len(choice.generated)


def _envelope(call: UpstreamCall) -> dict[str, Any]:
    seed = orjson.dumps([time(), call.model, id(call)])
    return {
        "id": ID_PREFIX + blake2b(seed, digest_size=12).hexdigest(),
        "object": OBJECT,
        "created": int(time()),
        "model": _name(call),
    }


def _name(call: UpstreamCall) -> str:
    return call.model if "simulator" in call.model else f"simulator/{call.model}"


def _usage(call: UpstreamCall, choices: list[Choice]) -> Usage:
    request = call.request
    assert isinstance(request, CompletionRequest)
    prompt = sum(
        len(prompt if isinstance(prompt, list) else tokens_of(prompt)) for prompt in request.prompts
    )
    return Usage(prompt, sum(len(choice.generated) for choice in choices))


def _logprobs(
    document: Mapping[str, Any], tokens: list[Token], offset: int, first: bool
) -> dict[str, list[Any]] | None:
    if document.get("logprobs") is None:
        return None
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    values: list[Any] = [token.logprob for token in tokens]
    tops: list[Any] = [token.top for token in tokens]
    if first and tokens and document.get("echo"):
        values[0] = tops[0] = None  # nothing comes before the first token of a prompt
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": values,
        "top_logprobs": tops,
        "text_offset": offsets,
    }


def _chat_envelope(call: UpstreamCall) -> dict[str, Any]:
    envelope = _envelope(call)
    own = envelope["id"].removeprefix(ID_PREFIX)
    return envelope | {"id": f"chatcmpl-{own}", "object": "chat.completion.chunk"}


def _call_id(call: UpstreamCall, index: int) -> str:
    seed = orjson.dumps([time(), index, id(call)])
    return f"call_{blake2b(seed, digest_size=12).hexdigest()}"


def _chat_usage(document: Mapping[str, Any], choices: list[simulated_chat.ChatChoice]) -> Usage:
    prompt = len(tokens_of(simulated_chat.conversation(document)))
    return Usage(prompt, sum(choice.size for choice in choices))
