"""Large answers on their way to slow callers: how many bytes of them a worker holds at most."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from time import monotonic

TRIM_BYTES = 16 << 20
STUCK_SECONDS = 1.0  # a caller that took nothing for so long may be given up for another one

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


class Delivery:
    """One answer on its way. ``give_up`` ends it; it is called at most once."""

    __slots__ = ("give_up", "left", "progressed", "size")

    def __init__(self, size: int, give_up: Callable[[], None]) -> None:
        self.size = self.left = size
        self.give_up = give_up
        self.progressed = monotonic()


class PendingAnswers:
    """Counts the bytes of answers that callers have not taken yet; at most ``most`` of them.

    One answer that is larger than ``most`` passes while nothing else is pending.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._deliveries: dict[Delivery, None] = {}
        self.total = 0
        self._ended = 0  # bytes of answers since memory was last given back

    def begin(self, delivery: Delivery) -> bool:
        """Whether there is room for one more; callers that took nothing for a while make it."""
        stuck_since = monotonic() - STUCK_SECONDS
        over = self.total + delivery.left - self._most
        for other in sorted(self._deliveries, key=lambda one: one.progressed):
            if over <= 0 or other.progressed > stuck_since:
                break
            over -= other.left
            self.end(other)
            other.give_up()
        if over > 0 and self._deliveries:
            self._ended += delivery.size
            return False
        self._deliveries[delivery] = None
        self.total += delivery.left
        return True

    def took(self, delivery: Delivery, size: int) -> None:
        """Note that the caller took ``size`` bytes."""
        if delivery in self._deliveries:
            self.total -= size
            delivery.left -= size
            delivery.progressed = monotonic()

    def end(self, delivery: Delivery) -> None:
        """Forget a delivery, whatever became of it."""
        if delivery in self._deliveries:
            del self._deliveries[delivery]
            self.total -= delivery.left
            self._ended += delivery.size

    def give_memory_back(self) -> None:
        """Return to the system what large answers left in the allocator (glibc); from any thread.

        They came in small pieces, and what is freed between others stays with the process: 15 answers
        of 55 MB that nobody read left 957 MiB behind, where 256 were pending.
        """
        if self._ended >= TRIM_BYTES:
            self._ended = 0
            if _trim is not None:
                _trim(0)
