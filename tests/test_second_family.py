"""A second endpoint family fits into the chain and the providers' base; neither is touched.

The toy stands in tests/harness/shouting.py.
"""

from __future__ import annotations

import asyncio

import orjson
import pytest

from app.core.call import Call
from app.core.errors import UpstreamTimeout
from app.core.pricing import Price
from app.core.reply import Answer, ReplyWriter
from app.core.request import Allowance, Cap, TargetRules
from app.openai.output_limits import OPENAI
from app.providers.base import ChunkSink, Provider, Traits, UpstreamCall
from app.providers.routing.routes import Endpoint, Route
from middleware.bounds import Bounds
from tests.cache.serving.serving import COST
from tests.harness.chain import ALIAS, ORIGIN, Answering, Door, in_loop, turns
from tests.harness.routing import Targeted, failover_of
from tests.harness.shouting import (
    SHOUTS,
    Shouting,
    body_of,
    chunk_of,
    replayed,
    shouts_of,
    usage_of,
)
from tests.test_extensibility import Chain, status


class Crowd:
    """A handler that answers it."""

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
        call.outcome.usage, call.outcome.cost = usage_of(len(shouts)), COST
        if not request.stream:
            body = body_of(shouts, usage_of(len(shouts)))
            await reply.answer(ORIGIN, Answer(body, ORIGIN.model, usage_of(len(shouts))))
            return
        chunks, end = replayed(body_of(shouts, usage_of(len(shouts))))
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
        return shouts_of(door.body)
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


# At a provider


class Stadium:
    """A provider that shouts, in the shape of the operation."""

    slug = "up"
    traits = Traits(operations=frozenset({"shouts"}), dialect=OPENAI)

    def __init__(self, *, silent: bool = False) -> None:
        self.asked: list[UpstreamCall] = []
        self._silent = silent

    async def answer(self, call: UpstreamCall) -> bytes:
        shouts = self._words(call)
        return body_of(shouts, usage_of(len(shouts)))

    async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None:
        for position, shout in enumerate(self._words(call)):
            await sink.write([chunk_of(position, shout)])
        await sink.write([], done=True)

    async def aclose(self) -> None:
        return

    def _words(self, call: UpstreamCall) -> list[str]:
        self.asked.append(call)
        call.tally.attempts += 1
        call.tally.unknown += 1
        if self._silent:
            raise UpstreamTimeout("The stadium is empty.")
        return [word.upper() for word in orjson.loads(call.request.body_for(call.model))["words"]]


def stadium_route(provider: Provider) -> Route:
    """The only target of the alias."""
    return Route(
        provider="up",
        model="m-1",
        endpoints={name: Endpoint(provider) for name in provider.traits.operations},
        rules=TargetRules(OPENAI),
        forward_headers=frozenset(),
        price=Price(COST * 500_000, COST * 500_000),  # a word costs COST
        max_calls=1,
        unknown_usage="bound",
        name="up/m-1",
        identity="up/m-1",
    )


class Gateway:
    """The inner chain down to a provider, with a cap of three words."""

    def __init__(self, provider: Provider) -> None:
        self.chain = Chain(failover_of())
        bounds = Bounds(
            self.chain.handler,
            allowance_of=lambda key, alias: Allowance(True, Cap(3, "this key's")),
        )
        self._handler = Targeted(bounds, [stadium_route(provider)])

    async def shout(self, *words: str, stream: bool = False) -> Door:
        door = Door(family=SHOUTS, model=ALIAS, words=words, stream=stream)
        return await door.through(self._handler)


@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_answers_a_second_family(stream: bool) -> None:
    async def body() -> int:
        stadium = Stadium()
        gateway = Gateway(stadium)
        doors = [await gateway.shout("hey", "you", stream=shape) for shape in (stream, not stream)]
        assert [heard(door) for door in doors] == [["HEY", "YOU"]] * 2
        assert [status(door) for door in doors] == [b"miss", b"hit"]
        assert [(call.operation, call.model) for call in stadium.asked] == [("shouts", "m-1")]
        return await gateway.chain.spent()

    assert in_loop(body) == 2 * COST


def test_a_second_family_has_bounds_of_its_own() -> None:
    async def body() -> Door:
        stadium = Stadium()
        door = await Gateway(stadium).shout("a", "b", "c", "d")
        assert not stadium.asked
        return door

    door = in_loop(body)
    assert (door.status, orjson.loads(door.body)["error"]["param"]) == (400, "words")


def test_what_nobody_knows_of_a_second_family_is_charged_by_its_own_bound() -> None:
    async def body() -> int:
        gateway = Gateway(Stadium(silent=True))
        assert (await gateway.shout("hey", "you")).status == 504
        return await gateway.chain.spent()

    assert in_loop(body) == 2 * COST
