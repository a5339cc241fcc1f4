"""``suffix`` for a completions server that has none, by the model's own template."""

from __future__ import annotations

from typing import Any

from app.core.errors import InvalidRequest
from app.core.request import FanOut
from app.openai.completions.fim import FimTemplate, filled
from app.openai.neutral import asks
from app.providers.adapters.changed_request import ChangedRequest
from app.providers.adapters.checking import check_inner
from app.providers.base import Answers, ChunkSink, UpstreamCall


class Filling:
    """Writes a prompt and its suffix into one prompt, and leaves everything else as it is."""

    def __init__(self, answers: Answers, template: FimTemplate) -> None:
        self._answers = answers
        self._template = template

    def fan_out(self, request: Any) -> FanOut:
        """One call, in which each prompt has the template's marks too."""
        if not request.document.get("suffix"):
            return FanOut()
        return FanOut(added=self._template.added * max(1, len(request.prompts)))

    def check(self, call: UpstreamCall) -> None:
        """Raises InvalidRequest for what cannot be written so, or not be honoured."""
        check_inner(self._answers, self._filled(call))

    async def answer(self, call: UpstreamCall) -> bytes:
        return await self._answers.answer(self._filled(call))

    async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None:
        await self._answers.stream(self._filled(call), sink)

    def _filled(self, call: UpstreamCall) -> UpstreamCall:
        """Raises InvalidRequest where the template would show in the answer, or cannot be written."""
        document = call.request.document
        suffix = document.get("suffix")
        if not suffix:
            return call
        if asks(document, "echo"):
            raise _unsupported("echo", "together with `suffix` is not supported by this model")
        prompt = filled(self._template, document["prompt"], suffix)
        if prompt is None:
            raise _unsupported("prompt", "as token ids goes with no `suffix` on this model")
        changes = {"prompt": prompt, "suffix": None}
        return call.asking(call.operation, ChangedRequest(call.request, changes))


def _unsupported(name: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"`{name}` {why}.", code="unsupported_parameter", param=name)
