"""What a provider is to the rest of the house."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from app.core.errors import HeaderList
from app.core.reply import Chunk
from app.core.request import Dialect, UpstreamRequest
from app.core.usage import Usage


class Tally:
    """What the requests to upstreams that serve one call came to so far.

    ``attempts`` counts requests sent, ``unknown`` those of them that the upstream may have worked on
    without saying what they used, ``waited`` is seconds spent waiting. ``usage`` is what is known to
    be used even if the call fails later.
    """

    __slots__ = ("attempts", "unknown", "usage", "waited")

    def __init__(self) -> None:
        self.attempts = 0
        self.unknown = 0
        self.waited = 0.0
        self.usage: Usage | None = None

    def used(self, usage: Usage | None) -> None:
        """Take what one of the requests to the upstream used; None where it does not say."""
        if usage is not None:
            self.usage = usage if self.usage is None else self.usage.plus(usage)
            self.unknown -= 1


class UpstreamCall:
    """One operation asked of one target: the request in OpenAI's shape, and the target's model.

    ``headers`` are the caller's that go along. Calls that together serve one caller share a tally.
    """

    __slots__ = ("headers", "model", "operation", "request", "tally")

    def __init__(
        self,
        operation: str,
        request: UpstreamRequest,
        model: str,
        headers: HeaderList | None = None,
        tally: Tally | None = None,
    ) -> None:
        self.operation = operation
        self.request = request
        self.model = model
        self.headers = headers or []
        self.tally = tally or Tally()

    def asking(self, operation: str, request: UpstreamRequest) -> UpstreamCall:
        """A part of this call: another request to the same target."""
        return UpstreamCall(operation, request, self.model, self.headers, self.tally)


class ChunkSink(Protocol):
    """Where a provider writes the chunks of a stream, as they come from its upstream."""

    async def write(self, chunks: Sequence[Chunk], *, done: bool = False) -> None:
        """Chunks that arrived together; ``done`` after the upstream's own end mark.

        Returns when there is room for more. Raises UpstreamError where they cannot be used.
        """
        ...


class Answers(Protocol):
    """Something that answers requests in OpenAI's shapes. Both methods raise GatewayError."""

    async def answer(self, call: UpstreamCall) -> bytes:
        """The plain answer's JSON, in OpenAI's shape of the operation."""
        ...

    async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None:
        """Writes the answer's events, in OpenAI's shape of the operation."""
        ...


class Traits(NamedTuple):
    """What of a provider is known before it is asked.

    ``operations`` are those that it answers itself: ``completions``, ``chat``, ``embeddings``.
    ``unsupported`` are the chat parameters that its chat has not, ``max_tokens_field`` the name
    under which chat takes ``max_tokens``. ``forward_headers`` are the names of callers' headers that
    it is sent, ``members`` those of members beyond the contract's (None for every one).
    ``embedding_inputs`` are the most inputs that one embeddings call takes.
    ``stop_limit`` is how many stop sequences it takes (None for any number), and ``blank_stops``
    whether they may be white space.
    """

    operations: frozenset[str]
    dialect: Dialect
    unsupported: frozenset[str] = frozenset()
    max_tokens_field: str = "max_tokens"
    forward_headers: frozenset[bytes] = frozenset()
    members: frozenset[str] | None = None
    embedding_inputs: int = 2048
    stop_limit: int | None = None
    blank_stops: bool = True


class Provider(Answers, Protocol):
    """An upstream under its configured name."""

    slug: str
    traits: Traits

    async def aclose(self) -> None: ...
