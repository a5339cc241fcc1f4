"""Embeddings through a provider: what stands twice in a batch is sent once, and no call has more
inputs than the provider takes."""

from __future__ import annotations

from time import time
from typing import Any

from app.concurrency.together import run_together
from app.core.errors import NotImplementedHere
from app.core.request import FanOut
from app.openai.embeddings.answer import joined, read_answer
from app.openai.embeddings.request import EmbeddingsRequest
from app.providers.adapters.checking import check_inner
from app.providers.base import Provider, UpstreamCall


class EmbeddingCalls:
    """Splits a batch and puts the answers together; ``at_a_time`` bounds the calls in flight."""

    def __init__(self, provider: Provider, at_a_time: int) -> None:
        self._provider = provider
        self._most = provider.traits.embedding_inputs
        self._at_a_time = at_a_time

    def fan_out(self, request: Any) -> FanOut:
        """One call for as many different inputs as the provider takes at once."""
        return FanOut(max(1, -(-len(request.first_places()) // self._most)))

    def check(self, call: UpstreamCall) -> None:
        """Raises InvalidRequest for what the provider cannot honour."""
        check_inner(self._provider, call)

    async def answer(self, call: UpstreamCall) -> bytes:
        request = call.request
        assert isinstance(request, EmbeddingsRequest)
        places = request.first_places()
        if len(places) == len(request.inputs) <= self._most:
            return await self._provider.answer(call)
        starts = range(0, len(places), self._most)
        bodies: dict[int, bytes] = {}

        async def ask(start: int) -> None:
            part = request.of_prompts(places[start : start + self._most])
            data = await self._provider.answer(call.asking(call.operation, part))
            answer = read_answer(data, part, call.model, int(time()))
            call.tally.used(answer.usage)
            bodies[start] = answer.body

        await run_together(starts, ask, at_a_time=min(self._at_a_time, len(starts)))
        return joined([bodies[start] for start in starts], request.answered_by(places))

    async def stream(self, *_: object) -> None:
        raise NotImplementedHere("Embeddings are not streamed.")
