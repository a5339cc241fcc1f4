"""What a provider is to the rest of the house."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from app.core.errors import HeaderList
from app.core.reply import Answer, Chunk
from app.core.usage import Usage
from app.openai.completions.request import CompletionRequest


class Aside:
    """A call to an upstream for the gateway's own purposes.

    ``waited`` is seconds spent waiting for the upstream; ``attempts`` counts requests sent to it,
    ``unknown`` those of them that it may have worked on without saying what they used.
    """

    __slots__ = ("attempts", "headers", "model", "unknown", "waited")

    def __init__(self, model: str, headers: HeaderList | None = None) -> None:
        self.model = model
        self.headers = headers or []
        self.attempts = 0
        self.unknown = 0
        self.waited = 0.0


class UpstreamCall(Aside):
    """One completions call to one target, and what became of it so far.

    ``usage`` is what is known to be used even if the call fails later.
    """

    __slots__ = ("request", "usage")

    def __init__(self, request: CompletionRequest, model: str, headers: HeaderList) -> None:
        super().__init__(model, headers)
        self.request = request
        self.usage: Usage | None = None

    def used(self, usage: Usage | None) -> None:
        """Take what one of the requests to the upstream used; None where it does not say."""
        if usage is not None:
            self.usage = usage if self.usage is None else self.usage.plus(usage)
            self.unknown -= 1


class ChunkSink(Protocol):
    """Where a provider writes the chunks of a stream, as they come from its upstream."""

    async def write(self, chunks: Sequence[Chunk], *, done: bool = False) -> None:
        """Chunks that arrived together; ``done`` after the upstream's own end mark.

        Returns when there is room for more. Raises UpstreamError where they cannot be used.
        """
        ...


class Completions(Protocol):
    """Something that answers text-completions requests. Both methods raise UpstreamError."""

    async def complete(self, call: UpstreamCall) -> Answer: ...

    async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None: ...


class Chat(Protocol):
    """Something that answers chat requests: JSON bodies in, decoded chat objects out."""

    async def chat(self, call: UpstreamCall, body: bytes) -> dict[str, Any]: ...

    async def stream_chat(self, call: UpstreamCall, body: bytes, sink: ChunkSink) -> None: ...


class Provider(Completions, Chat, Protocol):
    """An upstream under its configured name, with what it can do.

    ``endpoints`` holds ``completions`` and ``chat``; ``unsupported`` the chat parameters that its
    chat endpoint has not; ``max_tokens_field`` the name under which chat takes ``max_tokens``.
    """

    slug: str
    endpoints: frozenset[str]
    unsupported: frozenset[str]
    max_tokens_field: str

    async def aclose(self) -> None: ...
