"""POST /v1/cache/feedback: a caller says that an answer by meaning was wrong, or right."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

import orjson
import pytest

from app.core.errors import GatewayError
from app.core.exchange import Exchange
from app.core.keys import Key
from app.routes.feedback import MAX_BODY, feedback_app
from cache.quotas.admission import RateLimited
from cache.quotas.counters import Counters
from cache.semantic.feedback_ids import FeedbackIds, Served
from cache.semantic.index import SemanticIndex
from tests.app.routes.asking import Answered, ask
from tests.harness.chain import FailingStore, in_loop

ASKED, SERVED, OTHER = b"a" * 32, b"s" * 32, b"o" * 32
SECRET = b"k" * 32


def id_of(tenant: str = "acme", secret: bytes = SECRET) -> str:
    """The id of an answer that this tenant was served."""
    signed = FeedbackIds(FailingStore(), [secret]).sign(Served(tenant, ASKED, SERVED))
    assert signed is not None
    return signed.decode()


ID = id_of()
UNSIGNED = urlsafe_b64encode(ASKED + SERVED).rstrip(b"=").decode()


class Route:
    """``taken`` is who took a request of the limits; ``refusal`` is raised instead."""

    def __init__(self, shared_by_all: bool = False, *, keys: tuple[bytes, ...] = (SECRET,)) -> None:
        self.store = FailingStore()
        self.semantic_index = SemanticIndex(self.store)
        self.counters = Counters(self.store)
        self.ids = FeedbackIds(self.store, keys)
        self.taken: list[Exchange] = []
        self.refusal: GatewayError | None = None
        self._app = feedback_app(
            self.semantic_index, self.counters, self.ids, self._take, shared_by_all
        )

    async def _take(self, exchange: Exchange, key: Key) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.taken.append(exchange)

    async def say(self, document: Any, *rest: bytes) -> Answered:
        body = document if isinstance(document, bytes) else orjson.dumps(document)
        return await ask(self._app, body, *rest)

    async def counted(self) -> dict[str, int]:
        await self.counters.flush()
        return await self.counters.read()


def test_an_answer_that_was_wrong_is_not_served_again_for_what_was_asked() -> None:
    async def body() -> None:
        route = Route()
        answered = await route.say({"id": ID, "verdict": "bad"})
        assert (answered.status, answered.document) == (200, {"id": ID, "quarantined": True})
        assert await route.semantic_index.is_banned("acme", ASKED, SERVED)

    in_loop(body)


def test_an_answer_that_was_wrong_answers_no_other_prompt_either() -> None:
    async def body() -> tuple[bool, bool]:
        route = Route()
        await route.say({"id": ID, "verdict": "bad"})
        banned = route.semantic_index.is_banned
        return await banned("acme", OTHER, SERVED), await banned("acme", OTHER, OTHER)

    assert in_loop(body) == (True, False)


def test_an_answer_that_was_right_is_only_counted() -> None:
    async def body() -> None:
        route = Route()
        answered = await route.say({"id": ID, "verdict": "good"})
        assert answered.document == {"id": ID, "quarantined": False}
        assert not await route.semantic_index.is_banned("acme", ASKED, SERVED)
        assert await route.counted() == {'headgate_semantic_feedback_total{verdict="good"}': 1}

    in_loop(body)


@pytest.mark.parametrize("tenant", ["acme", ""])
def test_a_verdict_reaches_as_far_as_the_answer_was_shared(tenant: str) -> None:
    async def body() -> list[bool]:
        route = Route(shared_by_all=True)
        assert (await route.say({"id": id_of(tenant), "verdict": "bad"})).status == 200
        return [
            await route.semantic_index.is_banned(t, ASKED, SERVED) for t in ("acme", "", "other")
        ]

    assert in_loop(body) == [tenant == "acme", tenant == "", False]


@pytest.mark.parametrize("verdict", ["bad", "good"])
@pytest.mark.parametrize(
    "named",
    [id_of("other"), id_of(""), id_of(secret=b"o" * 32), UNSIGNED],
    ids=["another tenant's", "shared, where nothing is", "signed by others", "unsigned"],
)
def test_who_was_not_served_an_answer_has_no_say_in_it(named: str, verdict: str) -> None:
    async def body() -> None:
        route = Route()
        answered = await route.say({"id": named, "verdict": verdict})
        assert (answered.status, answered.document["error"]["param"]) == (400, "id")
        assert await route.counted() == {}
        for tenant in ("acme", "", "other"):
            assert not await route.semantic_index.is_banned(tenant, ASKED, SERVED)

    in_loop(body)


def test_before_there_is_a_secret_no_id_can_be_told() -> None:
    async def body() -> tuple[int, str | None]:
        answered = await Route(keys=()).say({"id": ID, "verdict": "bad"})
        return answered.status, answered.error_code

    assert in_loop(body) == (503, "store_unavailable")


@pytest.mark.parametrize("document", [{"id": ID, "verdict": "good"}, b"nonsense"], ids=repr)
def test_a_verdict_and_what_is_none_take_a_request_of_the_limits(document: Any) -> None:
    async def body() -> int:
        route = Route()
        await route.say(document)
        return len(route.taken)

    assert in_loop(body) == 1


def test_over_its_limit_a_key_has_no_say() -> None:
    async def body() -> None:
        route = Route()
        route.refusal = RateLimited("Too many.")
        answered = await route.say({"id": ID, "verdict": "bad"})
        assert (answered.status, answered.error_code) == (429, "rate_limit_exceeded")
        assert not await route.semantic_index.is_banned("acme", ASKED, SERVED)

    in_loop(body)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"nonsense",
        b"\xff",
        {},
        {"id": ID},
        {"id": ID, "verdict": "awful"},
        {"id": ID, "verdict": "bad", "more": 1},
        {"id": "short", "verdict": "bad"},
        {"id": ID + "A", "verdict": "bad"},
        {"id": "é" * len(ID), "verdict": "bad"},
        {"id": 5, "verdict": "bad"},
    ],
    ids=repr,
)
def test_what_is_no_verdict_is_refused_and_counts_for_nothing(document: Any) -> None:
    async def body() -> None:
        route = Route()
        answered = await route.say(document)
        assert (answered.status, answered.error_code) == (400, "invalid_request")
        assert await route.counted() == {}

    in_loop(body)


def test_a_verdict_may_come_in_pieces() -> None:
    async def body() -> int:
        whole = orjson.dumps({"id": ID, "verdict": "good"})
        return (await Route().say(whole[:9], whole[9:])).status

    assert in_loop(body) == 200


def test_a_body_is_read_no_further_than_it_may_be_long() -> None:
    async def body() -> Answered:
        return await Route().say(b"x" * MAX_BODY, b"x", b"x")

    answered = in_loop(body)
    assert (answered.status, answered.document["error"]["code"]) == (413, "request_too_large")


def test_without_the_store_a_verdict_is_not_lost_in_silence() -> None:
    async def body() -> tuple[int, str | None, dict[str, int]]:
        route = Route()
        route.store.out = True
        answered = await route.say({"id": ID, "verdict": "bad"})
        route.store.out = False
        return answered.status, answered.error_code, await route.counted()

    assert in_loop(body) == (503, "store_unavailable", {})
