"""Asks a source within a deadline, and leaves it alone for a while when it fails again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic

from app.core.usage import Usage
from app.retrieval.chunk import Chunk, Question, RetrievalFailure, Source, TextEncoder, Wanted

MOST_FAILURES = 5  # in a row, after which a source is not asked for a while
REST_SECONDS = 5.0
AT_A_TIME = 16  # questions of one request


class Spent:
    """What a retrieval came to, also where it failed: ``usage`` is the embedding's.

    ``asked``: the encoder was asked, so that something may have been used though nobody says so.
    """

    __slots__ = ("asked", "usage")

    def __init__(self) -> None:
        self.asked = False
        self.usage: Usage | None = None


class Rest:
    """Whether to ask a source that has been failing: after its rest one question tries it alone."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._failures = 0
        self._until = 0.0
        self._trying = False

    @property
    def open(self) -> bool:
        """Whether nobody may ask."""
        return self._failures >= MOST_FAILURES and (self._trying or self._now() < self._until)

    def asking(self) -> None:
        """Somebody asks, alone where the source has rested."""
        self._trying = self._failures >= MOST_FAILURES

    def answered(self) -> None:
        self._failures, self._trying = 0, False

    def failed(self) -> None:
        self._failures = min(self._failures + 1, MOST_FAILURES)
        self._until, self._trying = self._now() + REST_SECONDS, False

    def left(self) -> None:
        """Whoever asked did not wait for the answer: it says nothing of the source."""
        self._trying = False


class Retriever:
    """Finds the chunks for the questions of one request: one embedding call, then the source.

    ``encoder`` is None for a source that compares texts itself. ``deadline`` is in seconds, for
    everything together.
    """

    def __init__(
        self,
        source: Source,
        encoder: TextEncoder | None,
        deadline: float,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self.source = source
        self.encoder = encoder
        self._deadline = deadline
        self._rest = Rest(now)

    async def find(
        self, questions: Sequence[str], wanted: Wanted, spent: Spent
    ) -> dict[str, list[Chunk]]:
        """The chunks for each of the questions, none of which is empty. Raises RetrievalFailure."""
        if self._rest.open:
            raise RetrievalFailure("breaker_open")
        self._rest.asking()
        try:
            async with asyncio.timeout(self._deadline):
                found = await self._found(questions, wanted, spent)
        except TimeoutError:
            self._rest.failed()
            raise RetrievalFailure("timeout") from None
        except RetrievalFailure:
            self._rest.failed()
            raise
        except BaseException:
            self._rest.left()
            raise
        self._rest.answered()
        return found

    async def _found(
        self, questions: Sequence[str], wanted: Wanted, spent: Spent
    ) -> dict[str, list[Chunk]]:
        texts = list(dict.fromkeys(questions))
        vectors = [b""] * len(texts)
        if self.encoder is not None:
            spent.asked = True
            vectors, spent.usage = await self.encoder.vectors(texts)
        asked = [Question(text, vector) for text, vector in zip(texts, vectors, strict=True)]
        if len(asked) == 1:
            return {asked[0].text: await self._allowed(asked[0], wanted)}
        turn = asyncio.Semaphore(AT_A_TIME)

        async def one(question: Question) -> list[Chunk]:
            async with turn:
                return await self._allowed(question, wanted)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(question)) for question in asked]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return {text: task.result() for text, task in zip(texts, tasks, strict=True)}

    async def _allowed(self, question: Question, wanted: Wanted) -> list[Chunk]:
        """What the source found, without what it should not have."""
        found = await self.source.find(question, wanted)
        theirs = [chunk for chunk in found if chunk.is_for(wanted.tenant, wanted.key)]
        return sorted(theirs, key=lambda chunk: -chunk.score)[: wanted.k]
