"""A request's token: taken once, though it is taken before it is known what is asked for."""

from __future__ import annotations

import pytest

from app.core.call import Call
from app.core.errors import GatewayError
from app.core.exchange import Exchange
from app.core.limits import Bucket
from app.core.reply import ReplyWriter
from cache.quotas.admission import RequestTokens
from cache.quotas.limiter import Limiter, LimitPlan
from middleware.rate_limit import RateLimit
from tests.harness.chain import KEY, Answering, Door, FailingStore, in_loop

REQUESTS = LimitPlan.of("acme", [Bucket("key:web", "requests", 60, 2)], [])
BOTH = LimitPlan.of("acme", [*REQUESTS.buckets, Bucket("tenant", "tokens", 60, 100)], [])


class Admission:
    """Tokens and the rate limit over one store, as a request meets them."""

    def __init__(self, plan: LimitPlan | None = REQUESTS, on_outage: str = "refuse") -> None:
        self.store = FailingStore()
        limiter = Limiter(self.store, on_outage)
        self._tokens = RequestTokens(limiter, lambda key: plan)
        self._layer = RateLimit(
            Answering(),
            limiter=limiter,
            plan_of=lambda key, alias: BOTH,
        )

    async def take(self, exchange: Exchange) -> GatewayError | None:
        try:
            await self._tokens.take(exchange, KEY)
        except GatewayError as error:
            return error
        return None

    async def ask(self, door: Door) -> bytes:
        """What the answer says is left of the requests."""
        await door.through(self._layer)
        return door.headers[b"x-ratelimit-remaining-requests"]


def test_what_was_taken_before_the_body_is_not_taken_again() -> None:
    async def body() -> None:
        admission, door = Admission(), Door()
        assert await admission.take(door.exchange) is None
        assert await admission.ask(door) == b"1"
        assert door.headers[b"x-ratelimit-remaining-tokens"] == b"83"  # 1 + 16 are reserved
        assert await admission.ask(Door()) == b"0"

    in_loop(body)


def test_it_is_taken_once() -> None:
    async def body() -> None:
        admission, door = Admission(), Door()
        for _ in range(3):
            assert await admission.take(door.exchange) is None
        assert await admission.ask(door) == b"1"

    in_loop(body)


def test_who_has_none_left_is_told_so_with_the_limits() -> None:
    async def body() -> Exchange:
        admission = Admission()
        for _ in range(2):
            assert await admission.take(Door().exchange) is None
        last = Door().exchange
        error = await admission.take(last)
        assert error is not None
        assert (error.status, error.code) == (429, "rate_limit_exceeded")
        assert b"retry-after" in dict(error.headers)
        return last

    last = in_loop(body)
    assert dict(last.reply_headers)[b"x-ratelimit-remaining-requests"] == b"0"


def test_without_a_limit_the_store_is_not_asked() -> None:
    async def body() -> int:
        admission = Admission(None)
        assert await admission.take(Door().exchange) is None
        return admission.store.asked

    assert in_loop(body) == 0


def test_without_the_store_none_is_given_where_a_limit_may_refuse() -> None:
    async def body() -> GatewayError | None:
        admission = Admission()
        admission.store.out = True
        return await admission.take(Door().exchange)

    error = in_loop(body)
    assert error is not None
    assert (error.status, error.code) == (503, "store_unavailable")


@pytest.mark.parametrize("on_outage", ["local", "allow"])
def test_without_the_store_those_inside_need_not_ask_it(on_outage: str) -> None:
    async def body() -> bool:
        admission, door = Admission(on_outage=on_outage), Door()
        admission.store.out = True
        assert await admission.take(door.exchange) is None
        seen: list[bool] = []

        async def handler(call: Call, reply: ReplyWriter) -> None:
            seen.append(call.store_out)
            await Answering()(call, reply)

        await door.through(handler)
        return seen == [True]

    assert in_loop(body)
