"""Sources that are made ready when a worker starts, and aside where that takes longer or fails."""

from __future__ import annotations

import asyncio

import pytest

import app.policy.retrieval as policy
from app.policy.retrieval import Retrievals
from app.retrieval.chunk import Chunk, Question, RetrievalFailure, Wanted
from app.retrieval.sources.static import Kept
from tests.harness.chain import in_loop


class Slow:
    """A source that gets ready when its gate opens, after so many failures."""

    def __init__(self, failures: int = 0) -> None:
        self.gate = asyncio.Event()
        self.failures = failures
        self.ready = asyncio.Event()
        self.closed = False

    async def prepare(self) -> None:
        if self.failures:
            self.failures -= 1
            raise RetrievalFailure("upstream_unreachable")
        await self.gate.wait()
        self.ready.set()

    async def find(self, question: Question, wanted: Wanted) -> list[Chunk]:
        return []

    async def aclose(self) -> None:
        self.closed = True


def test_a_start_waits_for_a_time_and_what_takes_longer_goes_on() -> None:
    async def body() -> None:
        source = Slow()
        retrievals = Retrievals({}, {"slow": source}, Kept())
        await retrievals.prepare(0.01)
        assert not source.ready.is_set()
        source.gate.set()
        await source.ready.wait()
        await retrievals.aclose()

    in_loop(body)


def test_what_fails_is_tried_again_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "RETRY_SECONDS", (0.0, 0.0))

    async def body() -> None:
        failing, well = Slow(failures=3), Slow()
        failing.gate.set()
        well.gate.set()
        retrievals = Retrievals({}, {"failing": failing, "well": well}, Kept())
        await retrievals.prepare(5.0)
        assert well.ready.is_set()
        await failing.ready.wait()
        await retrievals.aclose()

    in_loop(body)


def test_one_that_never_gets_ready_can_be_closed() -> None:
    async def body() -> None:
        source = Slow()
        retrievals = Retrievals({}, {"slow": source}, Kept())
        await retrievals.prepare(0.0)
        await retrievals.aclose()
        assert source.closed

    in_loop(body)
