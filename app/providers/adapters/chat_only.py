"""A chat-capable provider, spoken to in completions: fan out, interleave, merge."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import time
from typing import Any

from app.concurrency.together import run_together
from app.core.errors import UpstreamInvalid
from app.core.reply import Chunk
from app.core.request import FanOut
from app.core.usage import read_usage
from app.openai import lenient_json
from app.openai.chat_bridge import (
    ChatCall,
    ChatPlan,
    ChunkBridge,
    add_usage,
    completion_of,
    refuse_unsupported,
)
from app.openai.completions.answer import encode
from app.openai.completions.bounds import TEMPLATE_OVERHEAD
from app.openai.completions.request import CompletionRequest
from app.providers.adapters.checking import check_inner
from app.providers.base import ChunkSink, Provider, UpstreamCall


class ChatOnly:
    """Completions through a provider's chat endpoint; ``fan_out`` bounds the calls at a time."""

    def __init__(self, provider: Provider, fan_out: int) -> None:
        self._provider = provider
        self._at_a_time = fan_out

    def fan_out(self, request: Any) -> FanOut:
        """One call a prompt, or one a choice where the provider has no ``n``."""
        times = request.n if "n" in self._provider.traits.unsupported else 1
        calls = max(1, len(request.prompts)) * times
        return FanOut(calls, times, TEMPLATE_OVERHEAD * calls)

    def plan(self, call: UpstreamCall) -> ChatPlan:
        """Raises InvalidRequest naming everything that chat cannot honour."""
        request = call.request
        assert isinstance(request, CompletionRequest)
        traits = self._provider.traits
        refuse_unsupported(request, sorted(traits.unsupported))
        return ChatPlan(request, traits.unsupported, traits.max_tokens_field)

    def check(self, call: UpstreamCall) -> None:
        """Raises InvalidRequest for what chat cannot honour, or this provider's cannot."""
        for chat_call in self.plan(call):
            check_inner(self._provider, call.asking("chat", chat_call.request))
            break  # the others differ in nothing but their texts

    async def answer(self, call: UpstreamCall) -> bytes:
        plan = self.plan(call)
        answers: list[tuple[ChatCall, dict[str, Any]]] = []

        async def ask(chat_call: ChatCall) -> None:
            data = await self._provider.answer(call.asking("chat", chat_call.request))
            document = _chat_document(data)
            call.tally.used(read_usage(document.get("usage")))
            answers.append((chat_call, document))

        if len(plan) == 1:
            for chat_call in plan:
                await ask(chat_call)
        else:
            await run_together(plan, ask, at_a_time=min(self._at_a_time, len(plan)))
            answers.sort(key=lambda answer: answer[0].first_index)
        return encode(completion_of(answers, int(time())))

    async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None:
        plan = self.plan(call)
        totals: list[Any] = []
        turn = asyncio.Lock()

        async def relay(chat_call: ChatCall) -> None:
            bridged = BridgedChunks(chat_call, sink, turn)
            await self._provider.stream(call.asking("chat", chat_call.request), bridged)
            await bridged.end()
            totals.append(bridged.usage)
            call.tally.used(read_usage(bridged.usage))

        if len(plan) == 1:
            await relay(next(iter(plan)))
        else:
            await run_together(plan, relay, at_a_time=min(self._at_a_time, len(plan)))
        usage = add_usage(totals)
        last = [Chunk.of({"choices": [], "usage": usage})] if usage else []
        await sink.write(last, done=True)


def _chat_document(data: bytes) -> dict[str, Any]:
    """A plain chat answer. Raises UpstreamInvalid."""
    try:
        document = lenient_json.decode(data)
    except lenient_json.NotJson:
        raise UpstreamInvalid("The upstream's answer is not valid JSON.") from None
    if not isinstance(document, dict):
        raise UpstreamInvalid("The upstream's answer is not a chat completion.")
    return document


class BridgedChunks:
    """Takes the chunks of one chat call and writes them on as completions chunks.

    The calls of one request write in turn, so that a slow reader slows them all.
    """

    def __init__(self, call: ChatCall, sink: ChunkSink, turn: asyncio.Lock) -> None:
        self._bridge = ChunkBridge(call)
        self._sink = sink
        self._turn = turn
        self._done = False

    @property
    def usage(self) -> dict[str, Any] | None:
        """What the chat call used, once its upstream has said so."""
        return self._bridge.usage

    async def write(self, chunks: Sequence[Chunk], *, done: bool = False) -> None:
        """Chat chunks; the end mark of one call says nothing of the whole answer."""
        self._done = self._done or done
        made: list[Chunk] = []
        try:
            for chunk in chunks:
                document = self._bridge.chunk(chunk.document)
                if document is not None:
                    made.append(Chunk(b"", document))
        finally:
            if made:
                async with self._turn:
                    await self._sink.write(made)

    async def end(self) -> None:
        """Raises UpstreamInvalid where the call ended before every choice was finished."""
        closing = self._bridge.end(said_done=self._done)
        if closing is not None:
            async with self._turn:
                await self._sink.write([Chunk(b"", closing)])
