"""A chat-capable provider, spoken to in completions: fan out, interleave, merge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from time import time
from typing import Any

import orjson

from app.core.chat_bridge import (
    ChatCall,
    ChunkBridge,
    add_usage,
    chat_calls,
    completion_of,
    refuse_unsupported,
)
from app.core.completion_answer import Answer, read_answer
from app.core.usage import Usage, read_usage
from app.providers.base import Batch, Call, Provider


class ChatOnly:
    """Completions through a provider's chat endpoint; ``fan_out`` bounds the calls at a time."""

    def __init__(self, provider: Provider, fan_out: int) -> None:
        self._provider = provider
        self._fan_out = fan_out

    def plan(self, call: Call) -> list[ChatCall]:
        """Raises InvalidRequest naming everything that chat cannot honour."""
        provider = self._provider
        refuse_unsupported(call.request, sorted(provider.unsupported))
        return chat_calls(call.request, call.model, provider.unsupported, provider.max_tokens_field)

    async def complete(self, call: Call) -> Answer:
        calls = self.plan(call)
        if len(calls) == 1:
            answers = [await self._provider.chat(call, calls[0].body)]
            _meter(call, answers[0].get("usage"))
        else:
            answers = await self._together(call, calls)
        now = int(time())
        document = completion_of(list(zip(calls, answers, strict=True)), now)
        return read_answer(orjson.dumps(document), call.request, call.model, now)

    async def _together(self, call: Call, calls: list[ChatCall]) -> list[dict[str, Any]]:
        gate = asyncio.Semaphore(self._fan_out)

        async def one(chat_call: ChatCall) -> dict[str, Any]:
            async with gate:
                document = await self._provider.chat(call, chat_call.body)
            _meter(call, document.get("usage"))
            return document

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(chat_call)) for chat_call in calls]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def stream(self, call: Call) -> AsyncGenerator[Batch, None]:
        calls = self.plan(call)
        bridges = [ChunkBridge(chat_call) for chat_call in calls]
        if len(calls) == 1:
            chunks = self._one(call, calls[0], bridges[0])
        else:
            chunks = self._interleaved(call, calls, bridges)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield Batch([chunk])
        usage = add_usage([bridge.usage for bridge in bridges])
        yield Batch([{"choices": [], "usage": usage}] if usage else [], done=True)

    async def _one(
        self, call: Call, chat_call: ChatCall, bridge: ChunkBridge
    ) -> AsyncGenerator[dict[str, Any], None]:
        batches = self._provider.stream_chat(call, chat_call.body)
        try:
            async for batch in batches:
                for item in batch.chunks:
                    chunk = bridge.chunk(item)
                    if chunk is not None:
                        yield chunk
        finally:
            await _close(batches)
        bridge.end()
        _meter(call, bridge.usage)

    async def _interleaved(
        self, call: Call, calls: list[ChatCall], bridges: list[ChunkBridge]
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The chunks of all calls as they come. The queue is short: a slow reader slows them all."""
        gate = asyncio.Semaphore(self._fan_out)
        queue: asyncio.Queue[dict[str, Any] | BaseException | None] = asyncio.Queue(self._fan_out)

        async def one(chat_call: ChatCall, bridge: ChunkBridge) -> None:
            try:
                async with gate, aclosing(self._one(call, chat_call, bridge)) as chunks:
                    async for chunk in chunks:
                        await queue.put(chunk)
            except Exception as error:  # noqa: BLE001 - handed to the reader, which raises it
                await queue.put(error)
            else:
                await queue.put(None)

        tasks = [
            asyncio.ensure_future(one(chat_call, bridge))
            for chat_call, bridge in zip(calls, bridges, strict=True)
        ]
        try:
            open_calls = len(tasks)
            while open_calls:
                item = await queue.get()
                if item is None:
                    open_calls -= 1
                elif isinstance(item, BaseException):
                    raise item
                else:
                    yield item
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _close(batches: AsyncIterator[Batch]) -> None:
    close = getattr(batches, "aclose", None)
    if close is not None:
        await close()


def _meter(call: Call, members: object) -> None:
    """Add what one chat call used to what the request used."""
    usage = read_usage(members)
    if usage is not None:
        before = call.usage or Usage(0, 0)
        call.usage = Usage(
            before.prompt_tokens + usage.prompt_tokens,
            before.completion_tokens + usage.completion_tokens,
        )
