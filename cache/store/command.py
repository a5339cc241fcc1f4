"""Commands on their way to the store, and whether they have been so for too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

from app.concurrency.listening import ListeningClock
from cache.store.base import Script

# What each command before it may take longer than the timeout: a server answers in order, and one
# that does 5,000 scripts a second is not out of order because 2,000 were asked at once.
TURN_SECONDS = 0.0002


class Pending(NamedTuple):
    """Who waits for a command's answer, or what to do if there is none.

    ``asked`` is in seconds of listening, ``ahead`` the number of commands that were waiting then.
    Commands that are ``ordered`` must be done in the order in which they were asked.
    """

    args: tuple[Any, ...]
    script: Script | None
    answer: asyncio.Future[Any] | None
    failed: Callable[[], None] | None
    ordered: bool
    number: int
    asked: float
    ahead: int


class Waiting:
    """The commands that are not yet answered, oldest first. Calls ``late`` when the store is.

    It is late when nothing came for ``timeout`` seconds of listening although something was asked,
    or when a command has waited for longer than that and its turn. The oldest speaks for all,
    because a connection answers in order.
    """

    def __init__(self, timeout: float, late: Callable[[], None]) -> None:
        self.timeout = timeout
        self._late = late
        self._commands: dict[int, Pending] = {}
        self._numbers = count()
        self._clock = ListeningClock(timeout, self._look)
        self._answered = False  # something, in this turn of the clock
        self._silent_since = 0.0
        self._none_left: asyncio.Event | None = None

    def __len__(self) -> int:
        return len(self._commands)

    def __contains__(self, pending: Pending) -> bool:
        return pending.number in self._commands

    def add(
        self,
        args: tuple[Any, ...],
        script: Script | None = None,
        answer: asyncio.Future[Any] | None = None,
        failed: Callable[[], None] | None = None,
        *,
        ordered: bool = False,
    ) -> Pending:
        """A command that waits from now on; needs a running loop."""
        commands = self._commands
        if not commands:
            self._clock.start()
        number = next(self._numbers)
        pending = Pending(
            args, script, answer, failed, ordered, number, self._clock.now, len(commands)
        )
        commands[number] = pending
        return pending

    def done(self, pending: Pending) -> bool:
        """It was answered; False where it had been given up before."""
        self._answered = True
        if self._commands.pop(pending.number, None) is None:
            return False
        if self._none_left is not None and not self._commands:
            self._none_left.set()
        return True

    def replace(self, pending: Pending) -> None:
        """What is sent instead of a command: it keeps its place, and has no second timeout."""
        self._answered = True
        self._commands[pending.number] = pending

    def give_up(self) -> list[Pending]:
        """All of them; none waits any more."""
        given_up = list(self._commands.values())
        self._commands.clear()
        self._clock.stop()
        if self._none_left is not None:
            self._none_left.set()
        return given_up

    async def none_left(self) -> None:
        """Wait until everything was answered or given up."""
        if self._commands:
            self._none_left = asyncio.Event()
            await self._none_left.wait()

    def _look(self) -> None:
        now = self._clock.now
        if self._answered:
            self._answered = False
            self._silent_since = now
        oldest = next(iter(self._commands.values()), None)
        if oldest is None:
            self._clock.stop()
            return
        waited = now - oldest.asked
        if waited <= self.timeout:
            return
        turn = oldest.ahead * TURN_SECONDS
        if now - self._silent_since > self.timeout or waited > self.timeout + turn:
            self._late()
