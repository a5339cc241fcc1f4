"""The store's clock, as a process knows it from answers that hold the time."""

from __future__ import annotations

import pytest

from cache.store.base import Store
from cache.store.clock import StoreClock, time_of
from tests.cache.stores import on


class Hands:
    """Two clocks that the test moves."""

    def __init__(self) -> None:
        self.own = 5000.0
        self.steady = 100.0
        self.clock = StoreClock(lambda: self.own, lambda: self.steady)

    def hear(self, told: float, took: float = 0.0) -> None:
        asked = self.clock.steady()
        self.steady += took
        self.clock.hear(told, asked)


def test_before_the_store_has_told_its_time_it_is_the_machines() -> None:
    hands = Hands()
    assert hands.clock.now() == 5000
    hands.own += 7
    assert hands.clock.now() == 5007


def test_then_it_is_the_stores_and_goes_on_by_the_steady_clock() -> None:
    hands = Hands()
    hands.hear(1000)
    hands.own -= 90_000  # whatever happens to the machine's
    hands.steady += 3
    assert hands.clock.now() == 1003


@pytest.mark.parametrize("took", [0.001, 0.05, 1.0])
def test_it_is_wrong_by_half_of_what_the_answer_took_at_most(took: float) -> None:
    for share in (0.0, 0.5, 1.0):
        hands = Hands()
        hands.hear(1000 + took * share, took)  # the store told it on the way
        assert abs(hands.clock.now() - (1000 + took)) <= took / 2 + 1e-9


def test_a_slow_answer_does_not_spoil_what_a_quick_one_told() -> None:
    hands = Hands()
    hands.hear(1000, 0.0)
    hands.steady += 1
    hands.hear(1001.0, 0.8)  # told at once, and late to arrive
    assert hands.clock.now() == pytest.approx(1001.8)


def test_a_store_whose_clock_was_set_is_followed_at_once() -> None:
    hands = Hands()
    hands.hear(1000, 0.0)
    hands.hear(4600, 0.04)
    assert abs(hands.clock.now() - 4600) < 0.05


def test_what_was_heard_long_ago_gives_way_to_what_is_less_precise() -> None:
    hands = Hands()
    hands.hear(1000, 0.0)
    hands.steady += 100  # a tenth of a second of doubt by now
    hands.hear(1100.06, 0.02)
    assert hands.clock.now() == pytest.approx(1100.07)


def test_a_store_can_be_asked_for_its_time(url: str) -> None:
    import time

    async def body(store: Store) -> float:
        return await time_of(store)

    assert abs(on(url, body) - time.time()) < 5
