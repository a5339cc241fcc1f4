"""An id names what was served, to the tenant that it was served to, on every replica."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.semantic.feedback_ids import FeedbackIds, Served
from cache.store.base import Store
from cache.store.opening import open_store
from tests.cache.stores import on, until

KEY, OTHER = b"k" * 32, b"o" * 32
WHAT = Served("acme", b"a" * 32, b"s" * 32)


def of(*keys: bytes) -> FeedbackIds:
    return FeedbackIds(open_store("memory://", 1), keys)


def signed(ids: FeedbackIds, what: Served = WHAT) -> str:
    found = ids.sign(what)
    assert found is not None
    return found.decode()


def test_an_id_is_read_by_who_has_the_key() -> None:
    text = signed(of(KEY))
    assert of(KEY).read(text, ["acme"]) == of(OTHER, KEY).read(text, ["x", "acme"]) == WHAT


def test_an_id_is_nothing_to_others() -> None:
    text = signed(of(KEY))
    assert of(OTHER).read(text, ["acme"]) is None
    assert of(KEY).read(text, ["other", ""]) is None
    assert of(KEY).read(text, []) is None


def test_what_everybody_shares_is_everybodys() -> None:
    text = signed(of(KEY), WHAT._replace(tenant=""))
    assert of(KEY).read(text, ["stranger", ""]) == WHAT._replace(tenant="")


def test_an_invented_id_is_none() -> None:
    invented = urlsafe_b64encode(WHAT.asked + WHAT.served + bytes(16)).rstrip(b"=").decode()
    assert of(KEY).read(invented, ["acme"]) is None
    unsigned = urlsafe_b64encode(WHAT.asked + WHAT.served).rstrip(b"=").decode()
    assert of(KEY).read(unsigned, ["acme"]) is None


@given(st.text(max_size=120) | st.text("ab-_", min_size=107, max_size=107))
def test_rubbish_is_no_id(text: str) -> None:
    assert of(KEY).read(text, ["acme"]) is None


@given(st.integers(0, 105), st.sampled_from("Aa0-_"))
def test_one_wrong_letter_makes_it_none(place: int, letter: str) -> None:
    text = signed(of(KEY))
    spoilt = text[:place] + letter + text[place + 1 :]
    assert spoilt == text or of(KEY).read(spoilt, ["acme"]) is None


def test_replicas_agree_on_one_secret(url: str) -> None:
    async def body(store: Store) -> Any:
        both = [FeedbackIds(store), FeedbackIds(store)]
        before = [ids.sign(WHAT) for ids in both]
        for ids in both:
            await ids.agree()
        ttl = await store.command("TTL", "hg1:feedback-secret")
        return before, both[1].read(signed(both[0]), ["acme"]), ttl

    assert on(url, body) == ([None, None], WHAT, -1)


def test_a_secret_that_the_store_lost_is_put_back(url: str) -> None:
    async def body(store: Store) -> Any:
        ids = FeedbackIds(store)
        await ids.agree()
        text = signed(ids)
        await store.command("DEL", "hg1:feedback-secret")
        await ids.agree()
        newcomer = FeedbackIds(store)
        await newcomer.agree()
        return newcomer.read(text, ["acme"])

    assert on(url, body) == WHAT


def test_an_id_outlives_one_change_of_the_secret(url: str) -> None:
    async def body(store: Store) -> Any:
        ids = FeedbackIds(store)
        await ids.agree()
        text = signed(ids)
        await store.command("SET", "hg1:feedback-secret", b"another" * 4)
        await ids.agree()
        return ids.read(text, ["acme"]), signed(ids) != text

    assert on(url, body) == (WHAT, True)


def test_it_agrees_as_soon_as_it_can(url: str) -> None:
    async def body(store: Store) -> Any:
        ids = FeedbackIds(store)
        task = asyncio.create_task(ids.keep_agreeing())
        await until(lambda: ids.known)
        task.cancel()
        return True

    assert on(url, body)


@pytest.mark.parametrize("keys", [(KEY,), (KEY, OTHER)])
def test_with_keys_the_store_is_not_asked(keys: tuple[bytes, ...]) -> None:
    assert of(*keys).known
