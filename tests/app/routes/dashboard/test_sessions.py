"""Sessions: good until they are ended, in every worker, and no longer than their admin key."""

from __future__ import annotations

from typing import Any

import pytest

from app.policy.admins import AdminKey, AdminKeys
from app.routes.dashboard import sessions
from app.routes.dashboard.sessions import Sessions
from cache.store import key_names as names
from cache.store.base import Store
from tests.cache.stores import on

OPS = AdminKey("ops", frozenset({"*"}), None, (b"1" * 32,))
OTHER = AdminKey("other", frozenset({"*"}), None, (b"2" * 32,))


def opened(*keys: AdminKey, store: Store) -> Sessions:
    return Sessions(store, AdminKeys(keys))


def test_a_session_opens_in_every_worker() -> None:
    async def body(store: Store) -> Any:
        secret, session = await opened(OPS, OTHER, store=store).open(OTHER)
        return session, await opened(OPS, OTHER, store=store).find(secret)

    session, found = on("memory://", body)
    assert found == session
    assert found.who.id == "other"


def test_a_session_ends_with_its_admin_key() -> None:
    async def body(store: Store) -> Any:
        secret, _ = await opened(OPS, OTHER, store=store).open(OTHER)
        return await opened(OPS, store=store).find(secret)

    assert on("memory://", body) is None


def test_who_signs_out_is_out_in_every_worker_within_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body(store: Store) -> list[bool]:
        here, there = opened(OPS, store=store), opened(OPS, store=store)
        secret, _ = await here.open(OPS)
        found = [await there.find(secret) is not None]
        await here.end(secret)
        found.append(await here.find(secret) is not None)
        monkeypatch.setattr(sessions, "monotonic", lambda: 1e12)
        return [*found, await there.find(secret) is not None]

    assert on("memory://", body) == [True, False, False]


def test_the_store_has_no_secret_and_forgets_after_eight_hours(url: str) -> None:
    async def body(store: Store) -> Any:
        secret, _ = await opened(OPS, store=store).open(OPS)
        kept = await store.command("KEYS", "*")
        place = names.operator_session(sessions._digest(secret))
        return secret, kept, await store.command("TTL", place)

    secret, kept, seconds = on(url, body)
    assert [secret.encode() in name for name in kept] == [False] * len(kept)
    assert 8 * 3600 - 5 <= seconds <= 8 * 3600


def test_a_link_is_used_once(url: str) -> None:
    async def body(store: Store) -> list[bool]:
        both = [opened(OPS, store=store) for _ in range(2)]
        return [await one.use_link("link") for one in both]

    assert on(url, body) == [True, False]
