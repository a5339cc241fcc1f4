"""One answer on its way to a caller: what it consists of, and where it goes.

Inside the chain a call is a value and an answer goes to a writer, as in Go's ``http.ResponseWriter``.
A layer that looks at the answer wraps the writer; one that refuses raises GatewayError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import orjson

from app.core.errors import UpstreamError
from app.core.usage import Usage


class Origin(NamedTuple):
    """Who answers: the provider's configured name, and the model as the upstream names it.

    ``target`` is the provider and the model that were asked; None where nobody was asked now,
    because the answer comes from the cache or from another caller's call.
    """

    provider: str
    model: str
    target: tuple[str, str] | None = None


class Answer(NamedTuple):
    """A whole answer: its JSON, the model that the upstream named, and what was used."""

    body: bytes
    model: str
    usage: Usage


class Chunk:
    """One event of a streamed answer: its JSON without ``usage``, encoded and decoded once each."""

    __slots__ = ("_document", "payload")

    def __init__(self, payload: bytes, document: dict[str, Any] | None = None) -> None:
        self.payload = payload
        self._document = document

    @classmethod
    def of(cls, document: dict[str, Any]) -> Chunk:
        """A chunk of our own making."""
        return cls(orjson.dumps(document), document)

    @property
    def document(self) -> dict[str, Any]:
        """The decoded event; shared by all readers, so never changed."""
        document = self._document
        if document is None:
            document = self._document = orjson.loads(self.payload)
        return document

    def __len__(self) -> int:
        return len(self.payload)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Chunk) and other.payload == self.payload

    def __hash__(self) -> int:
        return hash(self.payload)

    def __repr__(self) -> str:
        return f"Chunk({self.payload!r})"


class StreamEnd(NamedTuple):
    """How a whole stream ended: what it used, and what its usage event says.

    ``members`` are the ``usage`` object as the caller gets it and whatever else the upstream said
    beside it.
    """

    usage: Usage
    members: Mapping[str, Any]


class ReplyWriter(Protocol):
    """Where one answer goes: ``answer`` once, or ``begin``, ``write`` … and then ``finish`` or ``fail``.

    Waiting for a write is back-pressure: it returns when the reader has room for more.
    """

    async def answer(self, origin: Origin, answer: Answer) -> None:
        """A whole plain answer."""
        ...

    async def begin(self, origin: Origin) -> None:
        """A stream follows."""
        ...

    async def write(self, chunks: Sequence[Chunk]) -> None:
        """Chunks that arrived together."""
        ...

    async def finish(self, end: StreamEnd, chunks: Sequence[Chunk] = ()) -> None:
        """The stream was whole; ``chunks`` are the last ones, which came together with its end."""
        ...

    async def fail(self, error: UpstreamError) -> None:
        """The stream broke after ``begin``."""
        ...


class Discard:
    """A writer for calls whose answer no caller waits for."""

    async def answer(self, *_: object) -> None:
        return

    async def begin(self, *_: object) -> None:
        return

    async def write(self, *_: object) -> None:
        return

    async def finish(self, *_: object) -> None:
        return

    async def fail(self, *_: object) -> None:
        return


DISCARD: ReplyWriter = Discard()
