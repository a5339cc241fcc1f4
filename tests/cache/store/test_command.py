"""When a store is late: the rule alone, with a clock that the test moves."""

from __future__ import annotations

import asyncio

import pytest

from cache.store.command import TURN_SECONDS, Pending, Waiting

TIMEOUT = 0.05


class Asked:
    """Commands that wait, and how often the store was called late."""

    def __init__(self) -> None:
        self.late = 0
        self.waiting = Waiting(TIMEOUT, self._was_late)

    def ask(self, count: int = 1) -> list[Pending]:
        return [self.waiting.add(("GET", "k")) for _ in range(count)]

    def listen(self, seconds: float) -> None:
        """Time passes in which nothing comes."""
        self.waiting._clock.now += seconds
        self.waiting._look()

    def _was_late(self) -> None:
        self.late += 1
        self.waiting.give_up()


@pytest.fixture
def asked(request: pytest.FixtureRequest) -> Asked:
    return Asked()


def in_a_loop(body: object) -> None:
    async def run() -> None:
        body()  # type: ignore[operator]

    asyncio.run(run())


def test_silence_for_the_timeout_is_late(asked: Asked) -> None:
    def body() -> None:
        asked.ask(1000)
        asked.listen(TIMEOUT)
        assert asked.late == 0
        asked.listen(0.001)
        assert asked.late == 1

    in_a_loop(body)


def test_silence_before_anything_was_asked_does_not_count(asked: Asked) -> None:
    def body() -> None:
        asked.ask()
        asked.listen(TIMEOUT - 0.001)
        asked.waiting.give_up()
        asked.ask()
        asked.listen(TIMEOUT)
        assert asked.late == 0

    in_a_loop(body)


def test_a_crowd_that_is_being_answered_has_the_time_that_its_turn_takes(asked: Asked) -> None:
    def body() -> None:
        crowd = asked.ask(1000)
        for pending in crowd[:-1]:  # as fast as is still in order, each in its turn
            asked.waiting.done(pending)
            asked.listen(TURN_SECONDS)
        asked.listen(TIMEOUT - 0.001)
        assert asked.late == 0
        asked.listen(0.002)
        assert asked.late == 1

    in_a_loop(body)


def test_a_store_that_answers_everybody_late_is_late(asked: Asked) -> None:
    # Far away, or overloaded: something comes all the time, but each answer is old.
    def body() -> None:
        trickle: list[Pending] = []
        while not asked.late and len(trickle) < 100:
            trickle += asked.ask()
            if len(trickle) > 20:
                asked.waiting.done(trickle[-20])
            asked.listen(TIMEOUT / 10)
        assert asked.late == 1
        assert len(trickle) <= 12

    in_a_loop(body)


def test_what_is_sent_again_has_no_second_timeout(asked: Asked) -> None:
    def body() -> None:
        [first] = asked.ask()
        asked.listen(TIMEOUT - 0.001)
        asked.waiting.replace(first._replace(args=("EVAL", "")))
        asked.ask(5)
        asked.listen(0.002)
        assert asked.late == 1

    in_a_loop(body)


def test_who_waits_for_none_to_be_left_is_told(asked: Asked) -> None:
    async def run() -> None:
        first, second = asked.ask(2)
        told = asyncio.ensure_future(asked.waiting.none_left())
        asked.waiting.done(first)
        await asyncio.sleep(0)
        assert not told.done()
        asked.waiting.done(second)
        await told

    asyncio.run(run())


def test_nothing_is_done_twice(asked: Asked) -> None:
    def body() -> None:
        [pending] = asked.ask()
        assert asked.waiting.done(pending)
        assert not asked.waiting.done(pending)

    in_a_loop(body)
