"""Whether to ask a store that has been failing. Pure: no clock, no I/O."""

from __future__ import annotations


class Breaker:
    """Open after ``tolerance`` failures in a row (slow answers), or at once (no connection).

    While it is open nobody asks; whoever watches over the store closes it when a probe succeeds.
    """

    def __init__(self, tolerance: int = 3) -> None:
        self._tolerance = tolerance
        self._failures = 0
        self.open = False
        self.reason: str | None = None
        self.detail = ""
        self.latest: tuple[str, str] = ("", "")  # reason and detail of the latest failure
        self.opened = 0

    def succeeded(self) -> None:
        """One answer came in time."""
        self._failures = 0

    def failed(self, reason: str, *, at_once: bool = False, detail: str = "") -> None:
        """One did not.

        ``reason`` is one of a few fixed words, for health pages and metrics; ``detail`` is for logs.
        """
        self._failures += 1
        self.latest = (reason, detail)
        if not self.open and (at_once or self._failures >= self._tolerance):
            self.open = True
            self.opened += 1
            self.reason, self.detail = (
                reason,
                detail,
            )  # the first: the rest is mostly its consequence

    def close(self) -> None:
        """Ask again from now on."""
        self._failures = 0
        self.open = False
        self.reason = None
        self.detail = ""
