"""What a provider is to the rest of the house."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from app.core.errors import HeaderList
from app.core.pricing import Price
from app.core.reply import Chunk
from app.core.request import Dialect, UpstreamRequest
from app.core.units import NanoDollars
from app.core.usage import Usage


class Tally:
    """What the requests to upstreams that serve one call came to so far.

    ``attempts`` counts requests sent, ``unknown`` those of them that the upstream may have worked on
    without saying what they used, ``waited`` is seconds spent waiting. ``usage`` is what is known to
    be used even if the call fails later. ``spent`` is what targets that failed said that they had
    used, and ``spent_cost`` what that costs.
    """

    __slots__ = ("attempts", "spent", "spent_cost", "unknown", "usage", "waited")

    def __init__(self) -> None:
        self.attempts = 0
        self.unknown = 0
        self.waited = 0.0
        self.usage: Usage | None = None
        self.spent: Usage | None = None
        self.spent_cost = NanoDollars(0)

    def used(self, usage: Usage | None) -> None:
        """Take what one of the requests to the upstream used; None where it does not say."""
        if usage is not None:
            self.usage = usage if self.usage is None else self.usage.plus(usage)
            self.unknown -= 1

    def failed(self, price: Price | None) -> None:
        """Another target will be asked: what this one said that it used is spent."""
        used, self.usage, self.unknown = self.usage, None, 0
        if used is not None:
            self.spent = used if self.spent is None else self.spent.plus(used)
            cost = price.cost(used) if price is not None else 0
            self.spent_cost = NanoDollars(self.spent_cost + cost)


class UpstreamCall:
    """One operation asked of one target: the request in OpenAI's shape, and the target's model.

    ``headers`` are the caller's that go along. Calls that together serve one caller share a tally.
    ``timeouts``, seconds by the transport's names, go over the provider's.
    """

    __slots__ = ("headers", "model", "operation", "request", "tally", "timeouts")

    def __init__(
        self,
        operation: str,
        request: UpstreamRequest,
        model: str,
        headers: HeaderList | None = None,
        tally: Tally | None = None,
        timeouts: Mapping[str, float] | None = None,
    ) -> None:
        self.operation = operation
        self.request = request
        self.model = model
        self.headers = headers or []
        self.tally = tally or Tally()
        self.timeouts = timeouts

    def asking(self, operation: str, request: UpstreamRequest) -> UpstreamCall:
        """A part of this call: another request to the same target."""
        return UpstreamCall(operation, request, self.model, self.headers, self.tally, self.timeouts)


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
    whether they may be white space. ``no_best_of`` says that it has no ``best_of``, and ``ranked``
    names the operations whose choices it gives with log-probabilities; ``one_choice`` that its
    completions have no ``n``.
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
    no_best_of: bool = False
    ranked: frozenset[str] = frozenset()
    one_choice: bool = False


class Provider(Answers, Protocol):
    """An upstream under its configured name."""

    slug: str
    traits: Traits

    @property
    def trouble(self) -> str | None:
        """What keeps it from answering, with its address, for its operator; None where nothing does."""
        ...

    async def aclose(self) -> None: ...
