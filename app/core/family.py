"""What an endpoint family (completions, chat, embeddings) is to the chain, as one value.

The chain, the cache and the providers' base are written once; whatever differs between families
stands here. ``Any`` is the family's own request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from app.core.errors import GatewayError
from app.core.reply import Answer, Chunk, StreamEnd
from app.core.request import Allowance, Dialect, TargetRules
from app.core.units import Digest
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

    def of(self, request: Any, headers: Sequence[tuple[bytes, bytes]]) -> list[Digest]:
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


class Shaper(Protocol):
    """One streamed answer on its way through: upstream chunks in, the contract's chunks out."""

    @property
    def model(self) -> str:
        """As the upstream names it; as it was asked for until then."""
        ...

    @property
    def usage(self) -> Usage | None:
        """What was used so far, as far as it is known."""
        ...

    def shape(self, chunk: Chunk) -> Chunk | None:
        """One chunk for the caller; None where it says nothing. Raises UpstreamInvalid."""
        ...

    def end(self, *, said_done: bool = False) -> StreamEnd:
        """How the stream ended, with the upstream's own end mark or without it.

        Raises UpstreamInvalid where it was cut.
        """
        ...


class Said(NamedTuple):
    """One text. ``choice`` is the number of the choice that says it, None for the answer itself.

    ``path`` stays the same over the chunks of a stream: an item of a list is told by its ``index``.
    ``json``: the text is JSON; ``whole``: it comes in one piece, though the answer be streamed.
    """

    choice: int | None
    path: tuple[str | int, ...]
    text: str
    json: bool = False
    whole: bool = False


class ReplyEncoding(Protocol):
    """A stream in the bytes of another form than the family's own events."""

    def events(self, chunks: Sequence[Chunk]) -> bytes: ...

    def end(self, end: StreamEnd) -> bytes: ...

    def error(self, error: GatewayError) -> bytes:
        """What ends a stream that broke."""
        ...


class Family(NamedTuple):
    """One family.

    **The request.** ``name`` is the operation that a provider is asked for, and the capability that
    a key needs. ``prompts`` names the member that a batch stands in. ``parse`` raises
    InvalidRequest.

    **Its bounds.** ``bounded`` is the request as a target may be sent it and a key may ask it, or it
    raises InvalidRequest. ``most`` and ``likely`` are the tokens that a request uses at most (for
    money) and probably (for limits, with all that it may generate), each prompt sent once.
    ``is_bounded`` says whether ``most`` holds for what is sent: a server may read more limits than
    the contract's.

    **The upstream's answer.** ``mend`` makes a plain one out of what a provider gave, and ``shaper``
    a streamed one; both get the model that was asked for and the time in unix seconds, and raise
    UpstreamInvalid. ``usage_event`` is the event that tells the usage at the end of a stream, which
    began with the given event.

    **The cache.** ``semantic_text`` is what of a request may be compared by meaning (None:
    nothing), ``answer_text`` what of its answer is. ``split`` takes an answer apart, a part a prompt,
    and ``merge`` puts parts (by position) together again, with the envelope of one of them. ``view``
    is made of a request, the positions in its batch that a stream answers and the plain answers to
    the others (both None where it answers all).

    **On the way out.** ``in_form`` is a plain answer in the form that this caller asked for; None
    where there is only one form. ``encoding`` is made of a request and its id where streams are
    written in another form than as the family's own events.

    **The guardrails.** ``said_in`` are the texts of a plain answer or of a chunk.
    """

    name: str
    prompts: str
    parse: Callable[[bytes], Any]
    bounded: Callable[[Any, TargetRules, Allowance], Any]
    is_bounded: Callable[[Any, Dialect], bool]
    most: Callable[[Any], Usage]
    likely: Callable[[Any], Usage]
    mend: Callable[[bytes, Any, str, int], Answer]
    shaper: Callable[[Any, str, int], Shaper]
    usage_event: Callable[[Mapping[str, Any], StreamEnd], dict[str, Any]]
    fingerprints: Callable[..., Fingerprints]
    semantic_text: Callable[[Any], str | None]
    answer_text: Callable[[bytes], str]
    is_complete: Callable[[bytes, Any], bool]
    split: Callable[[bytes, Usage, Any], list[Part]]
    merge: Callable[[Mapping[int, bytes], Any, int], bytes]
    replay: Callable[[bytes], Replay]
    assembly: Callable[[], Assembly]
    said_in: Callable[[Mapping[str, Any]], list[Said]]
    view: Callable[[Any, Sequence[int] | None, Mapping[int, bytes] | None], View]
    in_form: Callable[[bytes, Any], bytes] | None = None
    encoding: Callable[[Any, str], ReplyEncoding] | None = None
