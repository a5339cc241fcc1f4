"""One target as one worker sees it: its breaker, and how busy it is here."""

from __future__ import annotations

from time import monotonic

from app.providers.routing.breaker import CLEAR, Events
from app.providers.routing.targets import Load

DECAY_SECONDS = 10.0  # a peak of latency counts half after as long
NOTHING = Events()


class TargetHealth:
    """One target: its breaker, and how busy it is here. ``clear``: nothing is wrong with it.

    ``level`` is what its capacity had left when it was asked last. ``answered`` counts calls that this
    worker made and that were answered, ``failures`` the others by kind.
    """

    __slots__ = (
        "_latency",
        "_measured",
        "answered",
        "clear",
        "failures",
        "in_flight",
        "level",
        "name",
        "state",
        "trailing",
        "unapplied",
        "untold",
        "untold_successes",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.clear = True
        self.state = CLEAR
        self.in_flight = 0
        self.answered = 0
        self.failures: dict[str, int] = {}
        self.level: dict[str, int] = {}
        self.unapplied = 0  # successes that the own copy does not count yet
        self.untold_successes = 0
        self.trailing = 0  # failures after the last success, of those that are untold
        self.untold = NOTHING  # everything but successes
        self._latency: float | None = None
        self._measured = 0.0

    @property
    def waiting(self) -> bool:
        """Whether something is to be told to the others."""
        return bool(self.untold_successes) or self.untold is not NOTHING

    def note_success(self) -> None:
        """A call was answered: nothing more than counting, because nearly all are."""
        self.unapplied += 1
        self.untold_successes += 1
        self.trailing = 0

    def note(self, seen: Events) -> Events:
        """Keep what was seen for the others; what the own copy is to count of it now."""
        self.trailing += seen.failed
        old = self.untold
        self.untold = Events(
            0,
            old.failed + seen.failed,
            0,
            max(old.opens, seen.opens),
            max(old.rests, seen.rests),
            seen.probe or old.probe,
            seen.probed if seen.probe else old.probed,
        )
        successes, self.unapplied = self.unapplied, 0
        return seen._replace(succeeded=successes, trailing=seen.failed)

    def take(self) -> Events:
        """What the others are not told yet."""
        events = self.untold._replace(succeeded=self.untold_successes, trailing=self.trailing)
        self.untold, self.untold_successes, self.trailing = NOTHING, 0, 0
        return events

    def load(self) -> Load:
        """How busy it is: the peak of the seconds to a first byte, forgotten slowly."""
        return Load(self.in_flight, self._latency)

    def measured(self, seconds: float) -> None:
        """A call had its first byte after so long. A peak counts at once, less only with time."""
        now = monotonic()
        old = self._latency
        if old is None or seconds > old:
            self._latency = seconds
        else:
            kept = 2.0 ** (-(now - self._measured) / DECAY_SECONDS)
            self._latency = old * kept + seconds * (1 - kept)
        self._measured = now
