"""``best_of`` for targets that have none: several choices are asked for, and the best are given."""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import Any

import orjson

from app.concurrency.together import run_together
from app.core.errors import InvalidRequest
from app.core.request import FanOut
from app.openai.completions.answer import read_answer
from app.openai.completions.best_of import best
from app.openai.completions.request import CompletionRequest
from app.providers.adapters.checking import check_inner
from app.providers.base import Answers, ChunkSink, UpstreamCall


class BestOf:
    """Asks for ``best_of`` choices with their log-probabilities, and gives the ``n`` best of them.

    ``inner_fan_out`` is how the target is sent a request. ``one_by_one``: it gives one choice a call.
    """

    def __init__(
        self,
        answers: Answers,
        inner_fan_out: Callable[[Any], FanOut],
        at_a_time: int,
        *,
        one_by_one: bool,
    ) -> None:
        self._answers = answers
        self._inner_fan_out = inner_fan_out
        self._at_a_time = at_a_time
        self._one_by_one = one_by_one

    def fan_out(self, request: Any) -> FanOut:
        """As the target is sent the choices that are ranked."""
        if request.best_of <= request.n:
            return self._inner_fan_out(request)
        asked = self._widened(request)
        inner = self._inner_fan_out(asked)
        times = request.best_of if self._one_by_one else 1
        return FanOut(inner.calls * times, inner.times * times, inner.added * times)

    def check(self, call: UpstreamCall) -> None:
        """Raises InvalidRequest for what cannot be ranked, or not be honoured."""
        request = call.request
        assert isinstance(request, CompletionRequest)
        asked = request if request.best_of <= request.n else self._rankable(request)
        check_inner(self._answers, call.asking(call.operation, asked))

    async def answer(self, call: UpstreamCall) -> bytes:
        request = call.request
        assert isinstance(request, CompletionRequest)
        if request.best_of <= request.n:
            return await self._answers.answer(call)
        asked = self._rankable(request)
        bodies: dict[int, dict[str, Any]] = {}

        async def ask(place: int) -> None:
            data = await self._answers.answer(call.asking(call.operation, asked))
            answer = read_answer(data, asked, call.model, int(time()))
            if self._one_by_one:  # else whoever reads the whole answer notes it
                call.tally.used(answer.usage)
            bodies[place] = orjson.loads(answer.body)

        calls = request.best_of if self._one_by_one else 1
        await run_together(range(calls), ask, at_a_time=min(self._at_a_time, calls))
        return orjson.dumps(self._ranked(request, [bodies[place] for place in range(calls)]))

    async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None:
        await self._answers.stream(call, sink)  # best_of beyond n is not streamed

    def _rankable(self, request: CompletionRequest) -> CompletionRequest:
        """What the target is sent. Raises InvalidRequest where its choices could not be compared."""
        if request.echo:
            raise InvalidRequest(
                "`best_of` greater than `n` cannot be honoured by this model together with `echo`.",
                code="unsupported_parameter",
                param="best_of",
            )
        return self._widened(request)

    def _widened(self, request: CompletionRequest) -> CompletionRequest:
        """The request for as many choices as are ranked, or for one of them."""
        return request.widened(1 if self._one_by_one else request.best_of)

    def _ranked(
        self, request: CompletionRequest, documents: list[dict[str, Any]]
    ) -> dict[str, Any]:
        first = documents[0]
        choices = first["choices"]
        if self._one_by_one:  # prompt by prompt, as one answer would have them
            rows = zip(*(document["choices"] for document in documents), strict=True)
            choices = [choice for row in rows for choice in row]
            counts = ("prompt_tokens", "completion_tokens", "total_tokens")
            usage = {n: sum(document["usage"][n] for document in documents) for n in counts}
            first = first | {"usage": usage}
        asked = request.logprobs is not None
        return first | {"choices": best(choices, request.best_of, request.n, logprobs=asked)}
