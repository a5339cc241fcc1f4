"""What a translation is: pure functions between the OpenAI API's shapes and a provider's own.

It takes an OpenAI-shaped request and says what to send where; it turns the answer back, whole or as
it streams, with usage and finish reasons in the OpenAI API's words. It does no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

from app.core.errors import UpstreamError

Operation = Literal["completions", "chat", "embeddings"]


class Prepared(NamedTuple):
    """One request to a provider: the path below its base URL, with a query, and the JSON body.

    A path that is a whole URL is one outside the base URL.
    """

    path: str
    body: bytes


class Asked(NamedTuple):
    """One OpenAI-shaped request, as it is translated.

    ``model`` is the target's name at the provider; ``now`` unix seconds, for ``created``.
    """

    operation: Operation
    document: Mapping[str, Any]
    model: str
    now: int

    @property
    def stream(self) -> bool:
        return self.document.get("stream") is True


class StreamTranslator(Protocol):
    """Turns one provider's stream into chunk documents of the OpenAI API, whatever the cut of bytes.

    After ``take`` or ``end``, ``broken`` is the error that ended the stream, if any; ``done`` says
    that the provider's own end mark has come; ``usage`` is what it said so far.
    """

    broken: UpstreamError | None
    done: bool

    @property
    def usage(self) -> dict[str, Any] | None: ...

    def take(self, packet: bytes) -> list[dict[str, Any]]:
        """The chunks that these bytes complete."""
        ...

    def end(self) -> list[dict[str, Any]]:
        """The last chunks, after the end of the body; ``broken`` where it was a cut."""
        ...


class Translation(Protocol):
    """One provider's language. Every method is pure.

    ``prepare`` raises InvalidRequest naming every member that the provider cannot honour; ``answer``
    raises UpstreamError.
    """

    media_type: bytes  # of a streamed answer

    def prepare(self, asked: Asked) -> Prepared: ...

    def answer(self, asked: Asked, data: bytes) -> dict[str, Any]: ...

    def usage(self, data: bytes) -> dict[str, Any] | None:
        """What a plain answer that cannot be used says it used."""
        ...

    def translator(self, asked: Asked, max_event_bytes: int) -> StreamTranslator: ...
