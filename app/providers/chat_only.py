"""A chat-capable provider, spoken to in completions: fan out, interleave, merge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from time import time
from typing import Any

from app.core.reply import Answer, Chunk
from app.core.usage import read_usage
from app.openai.chat_bridge import (
    ChatCall,
    ChatPlan,
    ChunkBridge,
    add_usage,
    completion_of,
    refuse_unsupported,
)
from app.openai.completions.answer import encode, read_answer
from app.providers.base import ChunkSink, Provider, UpstreamCall


class ChatOnly:
    """Completions through a provider's chat endpoint; ``fan_out`` bounds the calls at a time."""

    def __init__(self, provider: Provider, fan_out: int) -> None:
        self._provider = provider
        self._fan_out = fan_out

    def plan(self, call: UpstreamCall) -> ChatPlan:
        """Raises InvalidRequest naming everything that chat cannot honour."""
        provider = self._provider
        refuse_unsupported(call.request, sorted(provider.unsupported))
        return ChatPlan(call.request, call.model, provider.unsupported, provider.max_tokens_field)

    async def complete(self, call: UpstreamCall) -> Answer:
        plan = self.plan(call)
        answers: list[tuple[ChatCall, dict[str, Any]]] = []

        async def ask(chat_call: ChatCall) -> None:
            document = await self._provider.chat(call, chat_call.body)
            call.used(read_usage(document.get("usage")))
            answers.append((chat_call._replace(body=b""), document))

        if len(plan) == 1:
            for chat_call in plan:
                await ask(chat_call)
        else:
            await self._together(plan, ask)
            answers.sort(key=lambda answer: answer[0].first_index)
        now = int(time())
        document = completion_of(answers, now)
        return read_answer(encode(document), call.request, call.model, now)

    async def _together(
        self, plan: ChatPlan, ask: Callable[[ChatCall], Coroutine[Any, Any, None]]
    ) -> None:
        """Every call of a plan, at most ``fan_out`` at a time; the first failure ends the others."""
        calls = iter(plan)

        async def worker() -> None:
            for chat_call in calls:
                await ask(chat_call)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._fan_out, len(plan))):
                    group.create_task(worker())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None:
        plan = self.plan(call)
        totals: list[Any] = []
        turn = asyncio.Lock()

        async def relay(chat_call: ChatCall) -> None:
            bridged = BridgedChunks(chat_call, sink, turn)
            await self._provider.stream_chat(call, chat_call.body, bridged)
            await bridged.end()
            totals.append(bridged.usage)
            call.used(read_usage(bridged.usage))

        if len(plan) == 1:
            await relay(next(iter(plan)))
        else:
            await self._together(plan, relay)
        usage = add_usage(totals)
        last = [Chunk.of({"choices": [], "usage": usage})] if usage else []
        await sink.write(last, done=True)


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
