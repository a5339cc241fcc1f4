"""The ``simulator`` kind: a provider in process, for trying the gateway and for load tests.

Latency, speed and failures are real in time: tokens are sent one by one as they are "generated".
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from hashlib import blake2b
from time import time
from typing import Any

import orjson

from app.config.providers import SimulatorProvider as Settings
from app.core.errors import UpstreamOverloaded
from app.core.reply import Chunk
from app.core.usage import Usage
from app.openai.completions.answer import ID_PREFIX, OBJECT
from app.openai.completions.output_limits import OPENAI
from app.openai.completions.request import CompletionRequest
from app.providers.base import ChunkSink, Traits, UpstreamCall
from app.providers.simulated_text import Choice, Token, generate, tokens_of

TURN = 16  # choices generated at a stretch


class SimulatorProvider:
    """Answers completions and chat from the request alone."""

    def __init__(self, slug: str, settings: Settings) -> None:
        self.slug = slug
        # It reads `max_tokens` alone, and is held to OpenAI's rules so that what was tried on it
        # works elsewhere.
        self.traits = Traits(operations=frozenset({"completions", "chat"}), dialect=OPENAI)
        self._latency = float(settings.latency)
        self._pause = 1 / settings.tokens_per_second if settings.tokens_per_second else 0.0
        self._failure_rate = settings.failure_rate

    async def answer(self, call: UpstreamCall) -> bytes:
        return await (self._chat(call) if call.operation == "chat" else self._complete(call))

    async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None:
        if call.operation == "chat":
            await self._stream_chat(call, sink)
        else:
            await self._stream_completion(call, sink)

    async def aclose(self) -> None:
        return

    async def _complete(self, call: UpstreamCall) -> bytes:
        document = call.request.document
        await self._think(call)
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
        await self._think(call)
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
        await self._think(call)
        document, choices = _chat_choices(call)
        body = {
            **_envelope(call),
            "object": "chat.completion",
            "choices": [
                {
                    "index": index,
                    "message": {"role": "assistant", "content": _text(choice.generated)},
                    "logprobs": _chat_logprobs(document, choice.generated),
                    "finish_reason": choice.finish_reason,
                }
                for index, choice in enumerate(choices)
            ],
            "usage": _chat_usage(document, choices).document(),
        }
        return orjson.dumps(body)

    async def _stream_chat(self, call: UpstreamCall, sink: ChunkSink) -> None:
        await self._think(call)
        document, choices = _chat_choices(call)
        envelope = _envelope(call) | {"object": "chat.completion.chunk"}
        for step in range(max(len(choice.generated) for choice in choices) + 1):
            for index, choice in enumerate(choices):
                tokens, ended = _step(choice, step)
                if tokens or ended:
                    part = {
                        "index": index,
                        "delta": {"content": _text(tokens)} if tokens else {},
                        "logprobs": _chat_logprobs(document, tokens),
                        "finish_reason": choice.finish_reason if ended else None,
                    }
                    await sink.write([Chunk.of(envelope | {"choices": [part]})])
            if self._pause:
                await self._wait(call, self._pause)
        usage = _chat_usage(document, choices).document()
        await sink.write([Chunk.of(envelope | {"choices": [], "usage": usage})], done=True)

    async def _wait(self, call: UpstreamCall, seconds: float) -> None:
        call.tally.waited += seconds
        await asyncio.sleep(seconds)

    async def _think(self, call: UpstreamCall) -> None:
        call.tally.attempts += 1
        call.tally.unknown += 1
        if self._latency:
            await self._wait(call, self._latency)
        if self._failure_rate and random.random() < self._failure_rate:  # noqa: S311 - a test aid
            call.tally.unknown -= 1
            raise UpstreamOverloaded("The simulator fails at the rate it was configured to.")


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
    name = call.model if "simulator" in call.model else f"simulator/{call.model}"
    seed = orjson.dumps([time(), call.model, id(call)])
    return {
        "id": ID_PREFIX + blake2b(seed, digest_size=12).hexdigest(),
        "object": OBJECT,
        "created": int(time()),
        "model": name,
    }


def _usage(call: UpstreamCall, choices: list[Choice]) -> Usage:
    request = call.request
    assert isinstance(request, CompletionRequest)
    prompt = sum(
        len(prompt if isinstance(prompt, list) else tokens_of(prompt)) for prompt in request.prompts
    )
    return Usage(prompt, sum(len(choice.generated) for choice in choices))


def _text(tokens: list[Token]) -> str:
    return "".join(token.text for token in tokens)


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


def _chat_choices(call: UpstreamCall) -> tuple[Mapping[str, Any], list[Choice]]:
    document = call.request.document
    prompt = "".join(str(message.get("content") or "") for message in document["messages"])
    asked = {**document, "logprobs": document.get("top_logprobs", 0)}
    return document, [generate(asked, prompt, i) for i in range(document.get("n", 1))]


def _chat_usage(document: Mapping[str, Any], choices: list[Choice]) -> Usage:
    prompt = "".join(str(message.get("content") or "") for message in document["messages"])
    return Usage(len(tokens_of(prompt)), sum(len(choice.generated) for choice in choices))


def _chat_logprobs(document: Mapping[str, Any], tokens: list[Token]) -> dict[str, Any] | None:
    if not document.get("logprobs") or not tokens:
        return None
    return {
        "content": [
            {
                "token": token.text,
                "logprob": token.logprob,
                "bytes": list(token.text.encode()),
                "top_logprobs": [
                    {"token": text, "logprob": value} for text, value in token.top.items()
                ],
            }
            for token in tokens
        ]
    }
