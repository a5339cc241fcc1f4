"""A chat-capable provider, spoken to in completions: fan out, interleave, merge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from time import time
from typing import Any

from app.core.chat_bridge import (
    ChatCall,
    ChatPlan,
    ChunkBridge,
    add_usage,
    completion_of,
    refuse_unsupported,
)
from app.core.completion_answer import Answer, encode, read_answer
from app.core.usage import read_usage
from app.providers.base import Batch, Call, Provider


class ChatOnly:
    """Completions through a provider's chat endpoint; ``fan_out`` bounds the calls at a time."""

    def __init__(self, provider: Provider, fan_out: int) -> None:
        self._provider = provider
        self._fan_out = fan_out

    def plan(self, call: Call) -> ChatPlan:
        """Raises InvalidRequest naming everything that chat cannot honour."""
        provider = self._provider
        refuse_unsupported(call.request, sorted(provider.unsupported))
        return ChatPlan(call.request, call.model, provider.unsupported, provider.max_tokens_field)

    async def complete(self, call: Call) -> Answer:
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

    async def stream(self, call: Call) -> AsyncGenerator[Batch, None]:
        plan = self.plan(call)
        totals: list[Any] = []
        if len(plan) == 1:
            chunks = self._one(call, next(iter(plan)), totals)
        else:
            chunks = self._interleaved(call, plan, totals)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield Batch([chunk])
        usage = add_usage(totals)
        yield Batch([{"choices": [], "usage": usage}] if usage else [], done=True)

    async def _one(
        self, call: Call, chat_call: ChatCall, totals: list[Any]
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The chunks of one chat call; what it used is added to ``totals`` at its end."""
        bridge = ChunkBridge(chat_call)
        batches = self._provider.stream_chat(call, chat_call.body)
        done = False
        try:
            async for batch in batches:
                done = done or batch.done
                for item in batch.chunks:
                    chunk = bridge.chunk(item)
                    if chunk is not None:
                        yield chunk
                if batch.broken is not None:
                    raise batch.broken
        finally:
            await _close(batches)
        closing = bridge.end(said_done=done)
        if closing is not None:
            yield closing
        totals.append(bridge.usage)
        call.used(read_usage(bridge.usage))

    async def _interleaved(
        self, call: Call, plan: ChatPlan, totals: list[Any]
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The chunks of all calls as they come. The queue is short: a slow reader slows them all."""
        queue: asyncio.Queue[dict[str, Any] | BaseException | None] = asyncio.Queue(self._fan_out)

        async def relay(chat_call: ChatCall) -> None:
            async with aclosing(self._one(call, chat_call, totals)) as chunks:
                async for chunk in chunks:
                    await queue.put(chunk)

        async def all_of_them() -> None:
            try:
                await self._together(plan, relay)
            except Exception as error:  # noqa: BLE001 - handed to the reader, which raises it
                await queue.put(error)
            else:
                await queue.put(None)

        task = asyncio.get_running_loop().create_task(all_of_them())
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _close(batches: AsyncIterator[Batch]) -> None:
    close = getattr(batches, "aclose", None)
    if close is not None:
        await close()
