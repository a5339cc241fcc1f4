"""The store's clock, as this process knows it: budgets, keys and counters of all replicas use one time."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, time

from cache.store.base import Store, script
from cache.store.key_names import TENANTS

DRIFT = 0.001  # seconds by which two clocks may part in a second; NTP slews by half of that


class StoreClock:
    """Unix seconds by the store's clock; by this machine's until the store has told its time.

    An answer that holds the store's time was made between the question and its arrival, so each
    one bounds the offset to the steady clock. The narrowest bounds are used, and grow with age.
    """

    def __init__(
        self, own: Callable[[], float] = time, steady: Callable[[], float] = monotonic
    ) -> None:
        self._own = own
        self._steady = steady
        self._offset: float | None = None
        self._doubt = 0.0  # the offset may be wrong by this much
        self._heard = 0.0

    def now(self) -> float:
        """Unix seconds."""
        if self._offset is None:
            return self._own()
        return self._steady() + self._offset

    def steady(self) -> float:
        """The moment at which a question is asked, for ``hear``."""
        return self._steady()

    def hear(self, told: float, asked: float) -> None:
        """The store's time (unix seconds) has come with the answer to what was ``asked`` then."""
        arrived = self._steady()
        offset = told - (asked + arrived) / 2
        doubt = (arrived - asked) / 2
        if self._offset is not None:
            aged = self._doubt + (arrived - self._heard) * DRIFT
            if doubt > aged and abs(offset - self._offset) <= doubt + aged:
                return  # it agrees, and says less precisely what is known
        self._offset, self._doubt, self._heard = offset, doubt, arrived


async def time_of(store: Store) -> float:
    """Unix seconds by the store's clock, asked for now. Raises StoreUnavailable."""
    seconds, micros = await store.run(script("tell_time"), [TENANTS], [])
    return int(seconds) + int(micros) / 1e6
