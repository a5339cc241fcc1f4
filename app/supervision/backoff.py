"""How long the next start of a worker waits. Pure: no clock is read here."""

from __future__ import annotations

FIRST_SECONDS = 0.5
MAX_SECONDS = 30.0
STEADY_SECONDS = 60.0  # a worker that lived for so long was not in a row of failures


class Backoff:
    """One worker slot's waits: 0, 0.5, 1, 2, 4 … 30 seconds; from the start after a steady life."""

    def __init__(self) -> None:
        self._next = 0.0

    def after(self, lived: float) -> float:
        """Seconds to wait before the next start, where the last worker lived for ``lived``."""
        if lived >= STEADY_SECONDS:
            self._next = 0.0
        wait = self._next
        self._next = min(max(2 * wait, FIRST_SECONDS), MAX_SECONDS)
        return wait
