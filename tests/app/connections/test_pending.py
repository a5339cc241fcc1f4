"""How many bytes of answers wait for their callers."""

from __future__ import annotations

import pytest

from app.connections import pending as pending_module
from app.connections.pending import STUCK_SECONDS, Delivery, PendingAnswers


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pending_module, "monotonic", clock)
    return clock


def begun(pending: PendingAnswers, size: int) -> tuple[Delivery, list[str], bool]:
    given_up: list[str] = []
    delivery = Delivery(size, lambda: given_up.append("given up"))
    return delivery, given_up, pending.begin(delivery)


def test_what_fits_is_let_in_and_what_was_taken_makes_room(clock: Clock) -> None:
    pending = PendingAnswers(100)
    first, _, let_in = begun(pending, 60)
    assert let_in
    assert not begun(pending, 60)[2]
    pending.took(first, 30)
    assert begun(pending, 60)[2]
    assert pending.total == 90


def test_whoever_took_nothing_for_a_while_makes_room(clock: Clock) -> None:
    pending = PendingAnswers(100)
    stuck, given_up, _ = begun(pending, 50)
    moving, other, _ = begun(pending, 50)
    clock.now = STUCK_SECONDS
    pending.took(moving, 1)
    assert begun(pending, 50)[2]
    assert (given_up, other) == (["given up"], [])
    pending.end(stuck)
    assert pending.total == 99


def test_an_answer_larger_than_everything_passes_alone(clock: Clock) -> None:
    pending = PendingAnswers(100)
    giant, _, let_in = begun(pending, 1000)
    assert let_in
    assert not begun(pending, 1)[2]
    pending.end(giant)
    assert pending.total == 0
    assert begun(pending, 1)[2]
