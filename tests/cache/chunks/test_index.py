"""Chunks in a real Redis 8: nobody sees those of another tenant or of other keys."""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.retrieval.chunk import EVERYONE, Chunk, Question, RetrievalFailure, Wanted
from cache.chunks.index import ChunkIndex, WrongVectors
from cache.chunks.source import RedisSource
from cache.store.opening import open_store
from cache.store.sealing import Seal
from tests.cache.stores import server_of
from tests.harness.prompts import unseen_name
from tests.harness.redis_server import RedisServer

OWNERS = st.tuples(
    st.sampled_from(["acme", "other", EVERYONE]),
    st.lists(st.sampled_from(["web", "ci", EVERYONE]), min_size=1, max_size=2, unique=True),
)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with server_of("8") as server:
        yield server


def vector(angle: float) -> bytes:
    return struct.pack("<2f", math.cos(angle), math.sin(angle))


def with_index(server: RedisServer, body: object, **said: object) -> object:
    """What ``body`` makes of an index that nobody used before."""

    async def run() -> object:
        store = open_store(server.url, 2.0)
        store.start()
        try:
            index = ChunkIndex(store, unseen_name(), "e", **said)  # type: ignore[arg-type]
            return await body(index)  # type: ignore[operator]
        finally:
            await store.aclose()

    return asyncio.run(run())


@settings(max_examples=30, deadline=None)
@given(
    st.lists(OWNERS, min_size=1, max_size=12),
    st.sampled_from(["acme", "other", "third"]),
    st.sampled_from(["web", "ci", 'x" in .keys or "*', "far"]),
)
def test_tenants_and_keys_see_their_own_and_everyones(
    server: RedisServer, owners: list[tuple[str, list[str]]], tenant: str, key: str
) -> None:
    chunks = [
        Chunk(f"c{place}", f"text {place}", "s", 0.0, whose, tuple(keys))
        for place, (whose, keys) in enumerate(owners)
    ]

    async def body(index: ChunkIndex) -> None:
        for place, chunk in enumerate(chunks):
            await index.keep(chunk, vector(place / 10))
        found = await index.find(vector(0), Wanted(tenant, key, 50))
        wanted = {chunk.id for chunk in chunks if chunk.is_for(tenant, key)}
        assert {chunk.id for chunk in found} == wanted
        assert all(chunk.is_for(tenant, key) for chunk in found)

    with_index(server, body)


def test_the_nearest_come_with_their_cosines_and_a_filter_holds(server: RedisServer) -> None:
    async def body(index: ChunkIndex) -> None:
        for angle, source in ((0.0, "a"), (0.5, "b"), (1.0, "a")):
            await index.keep(Chunk(f"{source}{angle}", "t", source), vector(angle))
        found = await index.find(vector(0), Wanted("acme", "web", 2))
        assert [one.id for one in found] == ["a0.0", "b0.5"]
        assert [one.score for one in found] == pytest.approx([1, math.cos(0.5)], abs=0.02)
        filtered = await index.find(vector(0), Wanted("acme", "web", 2), '.source == "b"')
        assert [one.id for one in filtered] == ["b0.5"]

    with_index(server, body)


def test_vectors_of_another_length_are_refused_and_told(server: RedisServer) -> None:
    async def body(index: ChunkIndex) -> None:
        await index.keep(Chunk("c", "t", "s"), vector(0))
        with pytest.raises(WrongVectors, match="holds vectors of e, 2 dimensions, not of e, 3"):
            await index.keep(Chunk("d", "t", "s"), b"\0" * 12)
        with pytest.raises(RetrievalFailure, match="dimensions"):
            await RedisSource(index, "").find(Question("q", b"\0" * 12), Wanted("a", "k", 2))

    with_index(server, body)


def test_a_filter_that_redis_does_not_understand_is_a_failure(server: RedisServer) -> None:
    async def body(index: ChunkIndex) -> None:
        await index.keep(Chunk("c", "t", "s"), vector(0))
        with pytest.raises(RetrievalFailure, match="store_refused"):
            await RedisSource(index, "((").find(Question("q", vector(0)), Wanted("a", "k", 2))

    with_index(server, body)


def test_a_store_that_is_gone_is_a_failure() -> None:
    async def body() -> None:
        store = open_store("redis://127.0.0.1:1", 0.1)
        source = RedisSource(ChunkIndex(store, "i", "e"), "", own=store)
        await source.prepare()
        try:
            with pytest.raises(RetrievalFailure, match="store_unavailable"):
                await source.find(Question("q", vector(0)), Wanted("a", "k", 2))
        finally:
            await source.aclose()

    asyncio.run(body())


def test_texts_are_encrypted_where_there_are_keys(server: RedisServer) -> None:
    async def body(index: ChunkIndex) -> None:
        await index.keep(Chunk("c", "a private text", "s"), vector(0))
        [found] = await index.find(vector(0), Wanted("acme", "web", 2))
        assert found.text == "a private text"
        [key] = [
            name for name in server.cli("KEYS", "*:chunks:*").splitlines() if index._name in name
        ]
        assert "private" not in server.cli("VGETATTR", key, "c")
        other = ChunkIndex(index._store, index._name, "e", Seal([b"2" * 32]))
        assert await other.find(vector(0), Wanted("acme", "web", 2)) == []

    with_index(server, body, seal=Seal([b"1" * 32]))
