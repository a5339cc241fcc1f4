"""A source within its deadline, and left alone while it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from app.retrieval.chunk import (
    EVERYONE,
    Chunk,
    Embedded,
    Question,
    RetrievalFailure,
    Wanted,
)
from app.retrieval.retriever import MOST_FAILURES, REST_SECONDS, Retriever, Spent
from tests.harness.chain import in_loop, turns

WANTED = Wanted("acme", "web", 2)


class Answering:
    """A source that gives every chunk it has, whoever asks; ``work`` is done before it answers."""

    def __init__(self, *chunks: Chunk, work: Callable[[], Any] | None = None) -> None:
        self.chunks = list(chunks)
        self.work = work
        self.asked: list[Question] = []

    async def prepare(self) -> None:
        return

    async def aclose(self) -> None:
        return

    async def find(self, question: Question, wanted: Wanted) -> list[Chunk]:
        self.asked.append(question)
        if self.work is not None:
            await self.work()
        return self.chunks


class Letters:
    """An encoder by first letters; counts its calls."""

    identity = "letters"

    def __init__(self) -> None:
        self.calls = 0

    async def vectors(self, texts: Sequence[str]) -> Embedded:
        self.calls += 1
        return Embedded([text[:1].encode() for text in texts])


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def _fails() -> None:
    raise RetrievalFailure("gone")


def chunk(name: str, tenant: str = EVERYONE, *keys: str, score: float = 0.5) -> Chunk:
    return Chunk(name, name, "s", score, tenant, keys or (EVERYONE,))


def find(retriever: Retriever, *questions: str) -> dict[str, list[str]]:
    found = in_loop(lambda: retriever.find(questions, WANTED, Spent()))
    return {question: [one.id for one in chunks] for question, chunks in found.items()}


def failure(retriever: Retriever) -> str:
    with pytest.raises(RetrievalFailure) as failed:
        find(retriever, "q")
    return str(failed.value)


def test_all_questions_are_embedded_in_one_call_and_doubles_asked_once() -> None:
    source, encoder = Answering(chunk("c")), Letters()
    found = find(Retriever(source, encoder, 1.0), "abc", "xyz", "abc")
    assert found == {"abc": ["c"], "xyz": ["c"]}
    assert encoder.calls == 1
    assert sorted(question.vector for question in source.asked) == [b"a", b"x"]


def test_what_a_source_should_not_have_given_is_dropped() -> None:
    source = Answering(
        chunk("all", score=0.1),
        chunk("ours", "acme", score=0.2),
        chunk("theirs", "other", score=0.9),
        chunk("colleagues", "acme", "ci", score=0.9),
        chunk("mine", "acme", "ci", "web", score=0.3),
    )
    assert find(Retriever(source, None, 1.0), "q") == {"q": ["mine", "ours"]}


def test_a_slow_source_is_not_waited_for() -> None:
    waiting = Answering(work=lambda: asyncio.Event().wait())
    assert failure(Retriever(waiting, None, 0.01)) == "timeout"


@pytest.mark.parametrize("count", [1, 3])
def test_a_failure_is_told_as_it_is(count: int) -> None:
    retriever = Retriever(Answering(work=_fails), None, 1.0)
    with pytest.raises(RetrievalFailure, match="gone"):
        find(retriever, *map(str, range(count)))


def test_a_source_that_fails_again_and_again_rests_and_is_tried_by_one() -> None:
    time, source = Time(), Answering(chunk("c"), work=_fails)
    retriever = Retriever(source, None, 1.0, time)
    assert [failure(retriever) for _ in range(MOST_FAILURES + 2)] == [
        *["gone"] * MOST_FAILURES,
        "breaker_open",
        "breaker_open",
    ]
    assert len(source.asked) == MOST_FAILURES
    time.now += REST_SECONDS

    async def trial() -> None:
        gate = asyncio.Event()
        source.work = gate.wait
        first = asyncio.create_task(retriever.find(["q"], WANTED, Spent()))
        await turns()
        with pytest.raises(RetrievalFailure, match="breaker_open"):
            await retriever.find(["q"], WANTED, Spent())
        gate.set()
        assert await first
        source.work = None
        assert await retriever.find(["q"], WANTED, Spent())

    in_loop(trial)


def test_a_trial_that_fails_begins_another_rest() -> None:
    time, source = Time(), Answering(work=_fails)
    retriever = Retriever(source, None, 1.0, time)
    for _ in range(MOST_FAILURES):
        failure(retriever)
    time.now += REST_SECONDS
    assert [failure(retriever) for _ in range(2)] == ["gone", "breaker_open"]


def test_a_caller_who_leaves_says_nothing_about_the_source() -> None:
    time, source = Time(), Answering(chunk("c"), work=_fails)
    retriever = Retriever(source, None, 1.0, time)
    for _ in range(MOST_FAILURES):
        failure(retriever)
    time.now += REST_SECONDS

    async def leave() -> None:
        source.work = lambda: asyncio.Event().wait()
        asked = asyncio.create_task(retriever.find(["q"], WANTED, Spent()))
        await turns()
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)

    in_loop(leave)
    source.work = None
    assert find(retriever, "q") == {"q": ["c"]}
