"""What retrieval is about: chunks, for whom they are looked for, and where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from app.core.usage import Usage

EVERYONE = "*"  # as a tenant or a key: whoever asks


class Chunk(NamedTuple):
    """A piece of a document. ``score`` is how near it is to what was asked; the higher, the nearer.

    ``tenant`` and ``keys`` (ids) are who may see it, each EVERYONE for all.
    """

    id: str
    text: str
    source: str
    score: float = 0.0
    tenant: str = EVERYONE
    keys: tuple[str, ...] = (EVERYONE,)

    def is_for(self, tenant: str, key: str) -> bool:
        """Whether this key of this tenant may see it."""
        own = self.tenant in (EVERYONE, tenant)
        return own and (EVERYONE in self.keys or key in self.keys)


class Wanted(NamedTuple):
    """For whom chunks are looked for, and how many at most. Never of the caller's own choice."""

    tenant: str
    key: str
    k: int


class RetrievalFailure(Exception):
    """No chunks could be had; the text says why, in one of a few words of ours."""


class Question(NamedTuple):
    """What is asked, and its unit vector (32-bit floats), where the source compares vectors."""

    text: str
    vector: bytes = b""


class Embedded(NamedTuple):
    """Vectors in the order of their texts, and what they cost in tokens where that is told."""

    vectors: list[bytes]
    usage: Usage | None = None


class TextEncoder(Protocol):
    """Gives the unit vectors of texts of any length.

    ``identity`` names it and its version: vectors of different encoders never meet.
    """

    identity: str

    async def vectors(self, texts: Sequence[str]) -> Embedded:
        """One vector a text, as 32-bit floats. Raises RetrievalFailure."""
        ...


class Source(Protocol):
    """Finds chunks. What it gives is checked once more, so a wrong filter shows nobody anything."""

    async def prepare(self) -> None:
        """Get ready; called before the first question, and again where it failed.

        Raises RetrievalFailure.
        """
        ...

    async def find(self, question: Question, wanted: Wanted) -> list[Chunk]:
        """The nearest chunks, in any order. Raises RetrievalFailure."""
        ...

    async def aclose(self) -> None: ...
