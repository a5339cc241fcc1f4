"""What an endpoint family (completions, chat, embeddings) is to the chain, as one value.

The chain, the cache and the providers' base are written once; whatever differs between families
stands here. ``Any`` is the family's own request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from app.core.reply import Chunk, StreamEnd
from app.core.usage import Usage


class Part(NamedTuple):
    """The plain answer to one prompt of a batch, and what it used."""

    body: bytes
    usage: Usage


class Replay(NamedTuple):
    """A plain answer as a whole stream."""

    chunks: list[Chunk]
    end: StreamEnd


class NotAssembled(ValueError):
    """These chunks do not add up to one plain answer."""


class Diverged(Exception):
    """A call that was taken over gives another text than the one already sent."""


class Fingerprints(Protocol):
    """The fingerprints of requests in one scope, namespace and alias."""

    def of(self, request: Any, headers: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """One 32-byte digest a prompt, each what it would be alone.

        ``headers`` are the caller's that may change the answer.
        """
        ...

    def partition(self, request: Any, also: str, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        """What two requests must share to be compared by the meaning of one text: all the rest."""
        ...


class Assembly(Protocol):
    """Adds up the chunks of one stream. Both methods raise NotAssembled."""

    def add(self, chunks: Sequence[Chunk]) -> None: ...

    def body(self, end: StreamEnd) -> bytes:
        """The plain answer of a stream that ended so."""
        ...


class View(Protocol):
    """A shared stream as one caller gets it."""

    def take(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        """What the caller gets for some chunks. Raises Diverged."""
        ...

    def end(self, end: StreamEnd) -> StreamEnd: ...

    def taken_over(self, sent: Sequence[Chunk]) -> None:
        """What follows comes from the beginning of another call; ``sent`` is what the caller has."""
        ...


class Family(NamedTuple):
    """One family.

    ``parse`` raises InvalidRequest. ``semantic_text`` is what of a request may be compared by
    meaning (None: nothing), ``answer_text`` what of its answer is. ``split`` takes an answer apart,
    a part a prompt, and ``merge`` puts parts (by position) together again, with the envelope of one
    of them. ``view`` is made of a request, the positions in its batch that a stream answers and the
    plain answers to the others (both None where it answers all).
    """

    name: str
    parse: Callable[[bytes], Any]
    fingerprints: Callable[..., Fingerprints]
    semantic_text: Callable[[Any], str | None]
    answer_text: Callable[[bytes], str]
    is_complete: Callable[[bytes, Any], bool]
    split: Callable[[bytes, Usage, Any], list[Part]]
    merge: Callable[[Mapping[int, bytes], Any, int], bytes]
    replay: Callable[[bytes], Replay]
    assembly: Callable[[], Assembly]
    view: Callable[[Any, Sequence[int] | None, Mapping[int, bytes] | None], View]
