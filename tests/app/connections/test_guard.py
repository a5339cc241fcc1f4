"""Which connections end, and when: over made-up readings and a moved clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.connections import guard as guard_module
from app.connections.guard import SHARE, Guard
from app.connections.rules import Limits
from app.connections.tcp import Reading, Snapshot

LIMITS = Limits(send=60, head=10, keepalive=75, pending=1000, connections=4, per_address=None)


class World:
    """Sockets by name, as the kernel would show them, and a guard over them."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.now = 1000.0
        self.open: dict[str, Reading] = {}
        self.waiting = 0
        self.ended: list[tuple[str, bool]] = []
        self.running: set[tuple[str, str]] = set()
        self.hosts: dict[str, str] = {}
        self.stalled = False
        self.guard = Guard(
            self, limits, self.running, {"proxy"}.__contains__, lambda *_: None, lambda: None
        )

    def read(self) -> Snapshot:
        return Snapshot(list(self.open.values()), self.waiting)

    def peer(self, reading: Reading) -> tuple[str, str]:
        name = reading.cookie.decode()
        return self.hosts.get(name, "host"), name

    def end(self, reading: Reading, *, reset: bool) -> bool:
        self.ended.append((reading.cookie.decode(), reset))
        self.open.pop(reading.cookie.decode())
        return True

    def close(self) -> None:
        self.open.clear()

    def has(
        self, name: str, *, acked: int = 1, received: int = 0, unsent: int = 0, quiet: float = 0
    ) -> None:
        self.open[name] = Reading(1, name.encode(), acked, received, unsent, unsent > 0, quiet)

    def run(self, name: str) -> None:
        self.running.add((self.hosts.get(name, "host"), name))

    def look(self, later: float = 0) -> list[str]:
        """One round so many seconds later; the names of those it ended."""
        self.now += later
        if not self.stalled:
            self.guard._known = self.now
        before = len(self.ended)
        self.guard.look(self.now)
        return [name for name, _ in self.ended[before:]]


@pytest.fixture
def world() -> Iterator[World]:
    return World()


def test_a_silent_caller_ends_after_the_head_timeout(world: World) -> None:
    world.has("a")
    assert world.look() == []
    assert world.look(9) == []
    assert world.look(1) == ["a"]


def test_bytes_of_a_head_buy_no_time(world: World) -> None:
    for received in range(10):
        world.has("a", received=received)
        assert world.look(1) == []
    world.has("a", received=11)
    assert world.look(1) == ["a"]


def test_a_running_request_may_take_its_time(world: World) -> None:
    world.has("a", received=100)
    world.run("a")
    world.look()
    world.has("a", received=100, quiet=1000)
    assert world.look(1000) == []


def test_an_idle_connection_ends_after_the_keepalive_timeout(world: World) -> None:
    world.has("a", acked=500, received=100)
    world.look()
    world.has("a", acked=500, received=100, quiet=74)
    assert world.look(74) == []
    world.has("a", acked=500, received=100, quiet=75)
    assert world.look(1) == ["a"]


def test_a_second_head_has_as_long_as_the_first(world: World) -> None:
    world.has("a", acked=500, received=100)
    world.look()
    world.has("a", acked=500, received=101)
    assert world.look(30) == []
    assert world.look(9) == []
    assert world.look(1) == ["a"]


def test_a_caller_that_takes_nothing_ends_even_while_its_request_runs(world: World) -> None:
    world.has("a", acked=500, unsent=9)
    world.run("a")
    world.look()
    assert world.look(59) == []
    assert world.look(1) == ["a"]
    assert world.ended == [("a", True)]  # what nobody takes is thrown away


def test_a_caller_that_takes_a_little_goes_on(world: World) -> None:
    for acked in range(500, 520):
        world.has("a", acked=acked, unsent=9)
        assert world.look(30) == []


def test_while_the_loop_stands_still_no_head_is_judged(world: World) -> None:
    """A whole request that nobody has begun looks like a head that does not end."""
    world.has("a", received=100)
    world.has("idle", acked=500)
    world.has("unread", acked=500, unsent=9)
    world.look()
    world.stalled = True
    world.has("idle", acked=500, quiet=100)
    assert world.look(100) == ["unread"]
    world.stalled = False
    world.run("a")
    world.has("idle", acked=900)
    assert world.look() == []


def test_a_descriptor_used_again_is_another_connection(world: World) -> None:
    world.has("a")
    world.look()
    del world.open["a"]
    world.has("b")
    assert world.look(9.5) == []
    assert world.look(9) == []
    assert world.look(1) == ["b"]


def test_without_room_the_longest_stuck_go_first_and_running_ones_stay(world: World) -> None:
    for name in ("running", "old", "unread", "fresh"):
        world.has(name, received=1)
    world.run("running")
    world.look()
    world.has("unread", acked=1, received=1, unsent=9)
    world.look(3)
    world.has("old", received=1, quiet=5)
    world.has("unread", received=1, unsent=9)
    world.has("fresh", received=1, acked=9)
    world.waiting = 3
    assert world.look(2) == ["old", "unread"]


def test_with_room_left_nobody_goes(world: World) -> None:
    world.has("a", acked=500)
    world.look()
    world.waiting = 3
    world.has("a", acked=500, quiet=5)
    assert world.look(5) == []


def test_the_newest_of_an_address_go_over_its_cap() -> None:
    world = World(LIMITS._replace(per_address=2, connections=100))
    for number in range(4):
        world.hosts[f"p{number}"] = "proxy"
        world.has(f"p{number}")
        world.has(f"a{number}")
    world.hosts["b"] = "other"
    world.has("b")
    assert world.look() == ["a2", "a3"]


def test_too_many_unsent_bytes_end_the_longest_stuck(world: World) -> None:
    for name in ("a", "b", "c"):
        world.has(name, acked=5, unsent=400)
    world.look()
    world.has("a", acked=6, unsent=400)
    assert world.look(2) == ["b"]


def test_a_round_costs_a_small_share_of_a_core(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 0.1])
    monkeypatch.setattr(guard_module, "thread_time", lambda: next(clock))
    assert world.guard.look(world.now) == pytest.approx(0.1 / SHARE)


def test_a_connection_is_cut_whose_request_still_runs(world: World) -> None:
    for name in ("a", "b", "c"):
        world.has(name)
        world.run(name)
    assert world.look() == []
    world.guard.cut(("host", "a"), lambda: True)
    world.guard.cut(("host", "b"), lambda: False)  # it has another request by now
    assert world.look(1) == ["a"]
    assert world.look(1) == []
