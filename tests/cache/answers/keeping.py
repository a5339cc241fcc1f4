"""Answers of the tests, and a shared tier over an empty store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from app.core.usage import Usage
from cache.answers.entry import CacheEntry
from cache.answers.shared_tier import Place, Responses
from cache.store import key_names as names
from cache.store.base import Store
from tests.cache.stores import on, settled

MINUTE = 60_000
PLACE = Place.of("acme", "house", "")
A, B = b"a" * 32, b"b" * 32
NAME_OF_A = names.answer("acme", A.hex())

Body = Callable[[Store, Responses, int], Awaitable[Any]]


def on_empty(url: str, body: Body, size: int = 1 << 30) -> Any:
    """What ``body`` returns, given the answers of an empty store and the store's time."""

    async def run(store: Store) -> Any:
        responses = Responses(store, size)
        now = (await responses.look_up(PLACE, [])).now
        return await body(store, responses, now)

    return on(url, run)


def answer(now: int, text: str = "t", **times: int) -> CacheEntry:
    """Asked for a second ago, fresh for a minute, of use for two."""
    moments = {
        "asked": now - 1000,
        "stored": now - 500,
        "fresh": now + MINUTE,
        "revalidate": now + 2 * MINUTE,
        "on_error": now + 2 * MINUTE,
    }
    body = b'{"text":"%s"}' % text.encode()
    return CacheEntry(body, "up", "m", Usage(1, 2), 7, **(moments | times))


def stale(now: int) -> CacheEntry:
    return answer(now, stored=now - 5000, fresh=now - 1000)


async def kept(store: Store, responses: Responses, *entries: tuple[bytes, CacheEntry]) -> None:
    responses.keep(PLACE, entries)
    await settled(store)


async def holder(responses: Responses, flight: str, digests: list[bytes], **asked: Any) -> Any:
    found = await responses.look_up(PLACE, digests, flight=flight, flight_digest=A, **asked)
    return found.holder
