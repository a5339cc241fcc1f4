"""What the chain needs to know of a request, whichever endpoint it came to, and what bounds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self

from app.core.usage import Usage


class UpstreamRequest(Protocol):
    """A body in OpenAI's shape, on its way to a provider.

    ``document`` is its JSON; for reading only.
    """

    @property
    def document(self) -> Mapping[str, Any]: ...

    @property
    def stream_options(self) -> Mapping[str, Any]: ...

    def body_for(self, model: str, changes: dict[str, bytes] | None = None) -> bytes:
        """The JSON to send, for the upstream's own name of the model.

        ``changes`` are encoded values by member; an empty one leaves its member out.
        """
        ...


class ModelRequest(UpstreamRequest, Protocol):
    """A valid request of a caller. Frozen: a change is a copy."""

    @property
    def model(self) -> str:
        """The alias that it asks for."""
        ...

    @property
    def stream(self) -> bool: ...

    @property
    def include_usage(self) -> bool:
        """Whether the caller asked for a usage event at the end of its stream."""
        ...

    @property
    def continuous_usage(self) -> bool:
        """Whether the caller asked for usage in every event of its stream."""
        ...

    @property
    def sampled(self) -> bool:
        """Whether the same request, asked again, is meant to give another answer."""
        ...

    @property
    def cacheable(self) -> bool:
        """Whether everything that is asked about stands in the request itself."""
        ...

    def bound(self) -> Self:
        """The same request with its default limit on what is generated written out."""
        ...

    def replacing(self, members: Mapping[str, Any]) -> Self:
        """The same request with other values of some members."""
        ...

    def native(self) -> Self:
        """The request as a target takes it that has this endpoint itself. Raises InvalidRequest."""
        ...

    def of_prompts(self, positions: Sequence[int]) -> Self:
        """The same request for some prompts of its batch."""
        ...


class FanOut(NamedTuple):
    """How a request is sent: in how many upstream calls, and each prompt in how many of them.

    ``added`` are the most prompt tokens that servers add by themselves, in all calls together.
    """

    calls: int = 1
    times: int = 1
    added: int = 0

    def over(self, usage: Usage) -> Usage:
        """What the calls use, where one that sends every prompt once would use ``usage``."""
        return usage._replace(prompt_tokens=usage.prompt_tokens * self.times)


ONE_CALL = FanOut()


class Cap(NamedTuple):
    """The most tokens that one choice may have, and whose setting says so (``This key's``)."""

    tokens: int
    whose: str


class Allowance(NamedTuple):
    """``bound``: money, tokens or a cap depend on how much a request may generate."""

    bound: bool
    cap: Cap | None


class Dialect(NamedTuple):
    """What the servers of one kind of provider read besides the contract's fields.

    Names are folded (lower case, without ``_`` and ``-``). ``limits`` say how much is generated,
    ``floors`` how much at least, ``candidates`` how many answers are generated for one, ``refused``
    why another member cannot be bounded. Where ``zero_is_none`` is false, the server takes a limit
    of 0 for no limit.
    """

    limits: frozenset[str]
    floors: frozenset[str]
    candidates: frozenset[str]
    refused: Mapping[str, str]
    zero_is_none: bool = True


class PartTokens(NamedTuple):
    """What one part of a message that is not text counts as, in tokens by kind.

    The defaults are at least what the large providers charge for one.
    Images: OpenAI's gpt-4o-mini takes 2,833 tokens and 5,667 for each of at most eight tiles, which
    is 48,169 (detail ``low``: 2,833); Anthropic takes at most 4,784 and Gemini 4,128 whatever the
    detail (OpenAI "Images and vision", Anthropic "Vision", Gemini "Token counting"). Sound: Gemini
    takes 32 tokens a second, so that 50,000 are 26 minutes. Video: the largest context there is.
    File: 1,000 pages of 258 tokens (Gemini), or 100 pages of 3,000 (Anthropic "PDF support").
    """

    image_low: int = 5_000
    image_high: int = 50_000
    image_auto: int = 50_000
    audio: int = 50_000
    video: int = 1_000_000
    file: int = 300_000
    other: int = 50_000


DEFAULT_PART_TOKENS = PartTokens()

# What a chat answer may have where the request, the model and the key name no limit, and one is
# needed because money or tokens are held for it.
DEFAULT_MAX_OUTPUT = 4096


class TargetRules(NamedTuple):
    """By which rules a target is sent requests.

    ``members`` are the names beyond the contract's that it is sent; None for every one.
    ``limit_name`` is the name under which its chat takes the limit on what is generated,
    ``max_output`` that limit where a chat request names none.
    """

    dialect: Dialect
    members: frozenset[str] | None = None
    part_tokens: PartTokens = DEFAULT_PART_TOKENS
    limit_name: str = "max_tokens"
    max_output: int = DEFAULT_MAX_OUTPUT
