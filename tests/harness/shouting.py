"""A toy endpoint family: a request has some ``words``, its answer a shout for each of them.

A stream gives one shout a chunk. It has nothing of completions: no prompts, no choices, no text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from app.core.errors import InvalidRequest, UpstreamInvalid
from app.core.family import Family, NotAssembled, Part, Replay
from app.core.reply import Answer, Chunk, StreamEnd
from app.core.request import Allowance, TargetRules
from app.core.usage import Usage
from cache.answers.fingerprint_form import Headers


class Shouting(NamedTuple):
    """A request."""

    model: str
    words: tuple[str, ...]
    stream: bool = False
    include_usage: bool = False
    continuous_usage: bool = False
    sampled: bool = False
    cacheable: bool = True

    @property
    def document(self) -> dict[str, Any]:
        return {"model": self.model, "words": self.words}

    @property
    def stream_options(self) -> dict[str, Any]:
        return {}

    def body_for(self, model: str, changes: dict[str, bytes] | None = None) -> bytes:
        made = {name: orjson.Fragment(value) for name, value in (changes or {}).items()}
        return orjson.dumps(self.document | {"model": model} | made)

    def bound(self) -> Shouting:
        return self

    def native(self) -> Shouting:
        return self

    def of_prompts(self, positions: Sequence[int]) -> Shouting:
        return self._replace(words=tuple(self.words[position] for position in positions))


def _parse(body: bytes) -> Shouting:
    document = orjson.loads(body)
    if not document.get("words"):
        raise InvalidRequest("`words` is required.", param="words")
    return Shouting(document["model"], tuple(document["words"]), document.get("stream", False))


class _Fingerprints:
    def __init__(self, **settings: Any) -> None:
        self._settings = repr(sorted(settings.items())).encode()

    def of(self, request: Shouting, headers: Headers) -> list[bytes]:
        return [self._digest(word, headers) for word in request.words]

    def partition(self, request: Shouting, also: str, headers: Headers) -> bytes:
        return self._digest(also, headers)

    def _digest(self, said: str, headers: Headers) -> bytes:
        whole = self._settings + repr(sorted(headers)).encode() + said.encode()
        return blake2b(whole, digest_size=32).digest()


def body_of(shouts: Iterable[str], usage: Usage) -> bytes:
    return orjson.dumps({"shouts": list(shouts), "usage": usage.document()})


def shouts_of(body: bytes) -> list[str]:
    found: list[str] = orjson.loads(body)["shouts"]
    return found


def usage_of(count: int) -> Usage:
    return Usage(count, count)


def _split(body: bytes, usage: Usage, request: Shouting) -> list[Part]:
    return [Part(body_of([shout], usage_of(1)), usage_of(1)) for shout in shouts_of(body)]


def _merge(parts: Mapping[int, bytes], request: Shouting, envelope: int) -> bytes:
    shouts = [shout for position in sorted(parts) for shout in shouts_of(parts[position])]
    return body_of(shouts, usage_of(len(shouts)))


def chunk_of(position: int, shout: str) -> Chunk:
    return Chunk.of({"position": position, "shout": shout})


def _end(count: int) -> StreamEnd:
    return StreamEnd(usage_of(count), {"usage": usage_of(count).document()})


def replayed(body: bytes) -> Replay:
    shouts = shouts_of(body)
    return Replay([chunk_of(*pair) for pair in enumerate(shouts)], _end(len(shouts)))


class _Assembly:
    def __init__(self) -> None:
        self._shouts: dict[int, str] = {}

    def add(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            self._shouts[chunk.document["position"]] = chunk.document["shout"]

    def body(self, end: StreamEnd) -> bytes:
        if len(self._shouts) != end.usage.prompt_tokens:
            raise NotAssembled
        return body_of([self._shouts[position] for position in sorted(self._shouts)], end.usage)


class _View:
    """Under the positions of the caller's own words, with what is known of the others first."""

    def __init__(
        self,
        request: Shouting,
        positions: Sequence[int] | None,
        known: Mapping[int, bytes] | None,
    ) -> None:
        self._positions = positions
        self._known = dict(known or {})
        self._left = [chunk_of(place, *shouts_of(body)) for place, body in self._known.items()]

    def take(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        if self._positions is None:
            return chunks
        before, self._left = self._left, []
        places = [self._positions[chunk.document["position"]] for chunk in chunks]
        own = zip(places, chunks, strict=True)
        return [*before, *(chunk_of(place, chunk.document["shout"]) for place, chunk in own)]

    def end(self, end: StreamEnd) -> StreamEnd:
        return _end(end.usage.prompt_tokens + len(self._known))

    def taken_over(self, sent: Sequence[Chunk]) -> None:
        raise NotImplementedError


def _bounded(request: Shouting, rules: TargetRules, allowance: Allowance) -> Shouting:
    if allowance.cap is not None and len(request.words) > allowance.cap.tokens:
        raise InvalidRequest("Too much shouting.", param="words")
    return request


def _mend(body: bytes, request: Shouting, model: str, now: int) -> Answer:
    try:
        shouts = shouts_of(body)
    except (orjson.JSONDecodeError, KeyError):
        raise UpstreamInvalid("The upstream did not shout.") from None
    return Answer(body_of(shouts, usage_of(len(shouts))), model, usage_of(len(shouts)))


class _Shaper:
    def __init__(self, request: Shouting, model: str, now: int) -> None:
        self._words = len(request.words)
        self._heard = 0
        self.model = model

    @property
    def usage(self) -> Usage | None:
        return usage_of(self._heard) if self._heard else None

    def shape(self, chunk: Chunk) -> Chunk | None:
        if "shout" not in chunk.document:
            raise UpstreamInvalid("The upstream did not shout.")
        self._heard += 1
        return chunk

    def end(self, *, said_done: bool = False) -> StreamEnd:
        if self._heard != self._words:
            raise UpstreamInvalid("The upstream lost its voice.")
        return _end(self._heard)


SHOUTS = Family(
    name="shouts",
    prompts="words",
    parse=_parse,
    bounded=_bounded,
    is_bounded=lambda request, dialect: True,
    most=lambda request: usage_of(len(request.words)),
    likely=lambda request: usage_of(len(request.words)),
    mend=_mend,
    shaper=_Shaper,
    usage_event=lambda first, end: dict(end.members),
    fingerprints=_Fingerprints,
    semantic_text=lambda request: None,
    answer_text=lambda body: " ".join(shouts_of(body)),
    is_complete=lambda body, request: len(shouts_of(body)) == len(request.words),
    split=_split,
    merge=_merge,
    replay=replayed,
    assembly=_Assembly,
    said_in=lambda _: [],
    view=_View,
)
