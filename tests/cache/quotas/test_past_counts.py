"""Counts of a time that is over are read once a minute, and those of now each time."""

from __future__ import annotations

from typing import Any

import pytest

from cache.quotas import past_counts
from cache.quotas.past_counts import PastCounts
from cache.store.base import Store
from tests.cache.stores import on


async def added(store: Store, name: str) -> None:
    await store.command("HINCRBY", name, "x", 1)


def test_what_is_over_is_not_read_again(url: str) -> None:
    async def body(store: Store) -> list[Any]:
        past, found = PastCounts(), []
        for _ in range(2):
            for over in (True, False):
                name = f"counts-{over}"
                await added(store, name)
                found.append((await past.read(store, name, over=over))[b"x"])
        return [*found, past.known("counts-True"), past.known("counts-False")]

    assert on(url, body) == [1, 1, 1, 2, {b"x": 1}, None]


def test_it_is_read_again_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(store: Store) -> list[int]:
        past, now, found = PastCounts(), 1000.0, []
        for wait in (0, past_counts.KEPT_SECONDS - 1, 2):
            now += wait
            monkeypatch.setattr(past_counts, "monotonic", lambda moment=now: moment)
            await added(store, "counts")
            found.append((await past.read(store, "counts", over=True))[b"x"])
        return found

    assert on("memory://", body) == [1, 1, 3]


def test_little_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_counts, "MAX_FIELDS", 3)
    monkeypatch.setattr(past_counts, "MAX_PERIODS", 5)

    async def body(store: Store) -> list[Any]:
        past = PastCounts()
        for number in range(4):
            await store.command("HINCRBY", "large", str(number), 1)
        await past.read(store, "large", over=True)
        for number in range(12):
            await past.read(store, f"small-{number}", over=True)
        return [past.known("large"), past.known("small-11"), past.known("small-0")]

    assert on("memory://", body) == [None, {}, None]
