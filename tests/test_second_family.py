"""A second endpoint family fits into the chain: the cache and the budget layer are not touched.

The toy family shouts words: a request has some ``words``, its answer a shout for each of them, and a
stream gives one shout a chunk. It has nothing of completions: no prompts, no choices, no text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson
import pytest

from app.core.call import Call
from app.core.errors import InvalidRequest
from app.core.family import Family, NotAssembled, Part, Replay
from app.core.reply import Answer, Chunk, ReplyWriter, StreamEnd
from app.core.usage import Usage
from cache.answers.fingerprint import Headers
from tests.cache.serving.serving import COST
from tests.harness.chain import ALIAS, ORIGIN, Answering, Door, in_loop, turns
from tests.test_extensibility import Chain, status

# The family


class Shouting(NamedTuple):
    """A request."""

    model: str
    words: tuple[str, ...]
    stream: bool = False
    include_usage: bool = False
    continuous_usage: bool = False
    sampled: bool = False

    def bound(self) -> Shouting:
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


def _body(shouts: Iterable[str], usage: Usage) -> bytes:
    return orjson.dumps({"shouts": list(shouts), "usage": usage.document()})


def _shouts(body: bytes) -> list[str]:
    found: list[str] = orjson.loads(body)["shouts"]
    return found


def _usage(count: int) -> Usage:
    return Usage(count, count)


def _split(body: bytes, usage: Usage, request: Shouting) -> list[Part]:
    return [Part(_body([shout], _usage(1)), _usage(1)) for shout in _shouts(body)]


def _merge(parts: Mapping[int, bytes], request: Shouting, envelope: int) -> bytes:
    shouts = [shout for position in sorted(parts) for shout in _shouts(parts[position])]
    return _body(shouts, _usage(len(shouts)))


def _chunk(position: int, shout: str) -> Chunk:
    return Chunk.of({"position": position, "shout": shout})


def _end(count: int) -> StreamEnd:
    return StreamEnd(_usage(count), {"usage": _usage(count).document()})


def _replay(body: bytes) -> Replay:
    shouts = _shouts(body)
    return Replay([_chunk(*pair) for pair in enumerate(shouts)], _end(len(shouts)))


class _Assembly:
    def __init__(self) -> None:
        self._shouts: dict[int, str] = {}

    def add(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            self._shouts[chunk.document["position"]] = chunk.document["shout"]

    def body(self, end: StreamEnd) -> bytes:
        if len(self._shouts) != end.usage.prompt_tokens:
            raise NotAssembled
        return _body([self._shouts[position] for position in sorted(self._shouts)], end.usage)


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
        self._left = [_chunk(place, *_shouts(body)) for place, body in self._known.items()]

    def take(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        if self._positions is None:
            return chunks
        before, self._left = self._left, []
        places = [self._positions[chunk.document["position"]] for chunk in chunks]
        own = zip(places, chunks, strict=True)
        return [*before, *(_chunk(place, chunk.document["shout"]) for place, chunk in own)]

    def end(self, end: StreamEnd) -> StreamEnd:
        return _end(end.usage.prompt_tokens + len(self._known))

    def taken_over(self, sent: Sequence[Chunk]) -> None:
        raise NotImplementedError


SHOUTS = Family(
    name="shouts",
    parse=_parse,
    fingerprints=_Fingerprints,
    semantic_text=lambda request: None,
    answer_text=lambda body: " ".join(_shouts(body)),
    is_complete=lambda body, request: len(_shouts(body)) == len(request.words),
    split=_split,
    merge=_merge,
    replay=_replay,
    assembly=_Assembly,
    view=_View,
)


class Crowd:
    """Who answers it."""

    def __init__(self, gate: asyncio.Event | None = None) -> None:
        self.asked: list[tuple[str, ...]] = []
        self._gate = gate

    async def __call__(self, call: Call, reply: ReplyWriter) -> None:
        request = call.request
        assert isinstance(request, Shouting)
        self.asked.append(request.words)
        if self._gate is not None:
            await self._gate.wait()
        shouts = [word.upper() for word in request.words]
        call.outcome.usage, call.outcome.cost = _usage(len(shouts)), COST
        if not request.stream:
            body = _body(shouts, _usage(len(shouts)))
            await reply.answer(ORIGIN, Answer(body, ORIGIN.model, _usage(len(shouts))))
            return
        chunks, end = _replay(_body(shouts, _usage(len(shouts))))
        await reply.begin(ORIGIN)
        for chunk in chunks:
            await reply.write([chunk])
        await reply.finish(end)


# In the chain


async def shout(chain: Chain, *words: str, stream: bool = False) -> Door:
    door = Door(family=SHOUTS, model=ALIAS, words=words, stream=stream)
    return await door.through(chain.handler)


def heard(door: Door) -> list[str]:
    """The shouts in a whole answer, in either shape, by their positions."""
    assert (door.status, door.ended) == (200, True)
    if door.headers[b"content-type"] == b"application/json":
        return _shouts(door.body)
    *events, mark = door.body.decode().split("\n\n")[:-1]
    assert mark == "data: [DONE]"
    chunks = [orjson.loads(event.removeprefix("data: ")) for event in events]
    found = {chunk["position"]: chunk["shout"] for chunk in chunks}
    return [found[position] for position in range(len(found))]


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("then", [False, True])
def test_a_second_family_is_cached_in_both_shapes(first: bool, then: bool) -> None:
    async def body() -> None:
        crowd = Crowd()
        chain = Chain(crowd)
        doors = [await shout(chain, "hey", "you", stream=stream) for stream in (first, then)]
        assert [heard(door) for door in doors] == [["HEY", "YOU"]] * 2
        assert [status(door) for door in doors] == [b"miss", b"hit"]
        assert len(crowd.asked) == 1

    in_loop(body)


def test_a_second_family_pays_from_the_same_budget() -> None:
    async def body() -> int:
        chain = Chain(Crowd())
        for _ in range(2):
            await shout(chain, "hey")
        return await chain.spent()

    assert in_loop(body) == COST


@pytest.mark.parametrize("stream", [False, True])
def test_a_second_family_is_asked_for_what_is_missing(stream: bool) -> None:
    async def body() -> None:
        crowd = Crowd()
        chain = Chain(crowd)
        await shout(chain, "b")
        door = await shout(chain, "a", "b", "c", stream=stream)
        assert (status(door), heard(door)) == (b"partial", ["A", "B", "C"])
        assert crowd.asked == [("b",), ("a", "c")]

    in_loop(body)


@pytest.mark.parametrize("stream", [False, True])
def test_all_who_ask_the_same_of_a_second_family_are_one_call(stream: bool) -> None:
    async def body() -> None:
        gate = asyncio.Event()
        crowd = Crowd(gate)
        chain = Chain(crowd)
        asked = [asyncio.create_task(shout(chain, "hey", stream=stream)) for _ in range(3)]
        await turns()
        gate.set()
        doors = await asyncio.gather(*asked)
        assert [heard(door) for door in doors] == [["HEY"]] * 3
        assert sorted(map(status, doors)) == [b"coalesced", b"coalesced", b"miss"]
        assert len(crowd.asked) == 1

    in_loop(body)


def test_two_families_of_one_model_have_answers_of_their_own() -> None:
    async def body() -> None:
        crowd, completing = Crowd(), Answering("yes")

        async def either(call: Call, reply: ReplyWriter) -> None:
            await (crowd if call.family is SHOUTS else completing)(call, reply)

        chain = Chain(either)
        doors = [await shout(chain, "p"), await chain.ask(prompt="p"), await shout(chain, "p")]
        assert [status(door) for door in doors] == [b"miss", b"miss", b"hit"]
        assert heard(doors[2]) == ["P"]

    in_loop(body)
