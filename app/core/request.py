"""What the chain needs to know of a request, whichever endpoint it came to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self


class ModelRequest(Protocol):
    """A valid request. Frozen: a change is a copy."""

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

    def bound(self) -> Self:
        """The same request with its default limit on what is generated written out."""
        ...

    def of_prompts(self, positions: Sequence[int]) -> Self:
        """The same request for some prompts of its batch."""
        ...
