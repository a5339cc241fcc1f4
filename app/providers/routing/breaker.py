"""When a target is left alone: the rules of its breaker. Pure: no clock, no I/O.

The same rules stand in ``cache/lua/report_target.lua`` and ``probe_target.lua``; a property test
holds the two together. Times are milliseconds of one clock, the store's where there is one.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

IN_A_ROW = 5  # failures that open it
SAMPLE, SHARE = 20, 0.5  # or this share of at least so many calls within the window
SLOT_MS, SLOTS = 5_000, 6  # the window: thirty seconds
FIRST_MS, LONGEST_MS = 5_000, 300_000  # how long it is open: doubling, from and to
RAMP_MS = 30_000  # after it closes, a target gets its share back in this time
LEAST_RAMP = 0.1
PROBE_MS = 75_000  # the lease of a probe: longer than a first byte is waited for by default


class Phase(Enum):
    """What may be sent to a target now. ``PROBE``: one call, by whoever gets the lease."""

    CLOSED = "closed"
    RESTING = "resting"
    OPEN = "open"
    PROBE = "half_open"
    PROBING = "probing"


class Events(NamedTuple):
    """What became of some calls: how many succeeded, how many failed, and how many of the failures
    came after the last success. ``opens`` and ``rests`` are milliseconds that a failure asked for.

    ``probe`` is the lease of the one that was a probe, ``probed`` whether it succeeded (None: nobody
    knows, because its caller left or it was refused for what it asked).
    """

    succeeded: int = 0
    failed: int = 0
    trailing: int = 0
    opens: int = 0
    rests: int = 0
    probe: str = ""
    probed: bool | None = None


class State(NamedTuple):
    """One target's breaker. ``open_until`` is 0 where it is closed; past it, one probe may be sent.

    ``length`` is how long it was opened for last, ``slots`` the window: (slot, succeeded, failed).
    """

    in_a_row: int = 0
    open_until: int = 0
    length: int = 0
    probe: str = ""
    probe_until: int = 0
    closed_at: int = 0
    resting_until: int = 0
    slots: tuple[tuple[int, int, int], ...] = ()

    def phase(self, now: int) -> Phase:
        """What may be sent now."""
        if self.open_until:
            if now < self.open_until:
                return Phase.OPEN
            return Phase.PROBING if self.probe and now < self.probe_until else Phase.PROBE
        return Phase.RESTING if now < self.resting_until else Phase.CLOSED

    def ramp(self, now: int) -> float:
        """The part of its weight that a target gets: less than 1 for a while after it closed."""
        age = now - self.closed_at
        if not self.closed_at or age >= RAMP_MS:
            return 1.0
        return max(LEAST_RAMP, age / RAMP_MS)

    def reopens_in(self, now: int) -> int:
        """Milliseconds until the target may be asked again; 0 where it may be now."""
        if self.open_until:
            until = self.probe_until if self.probe else 0
            return max(0, self.open_until - now, until - now)
        return max(0, self.resting_until - now)


CLEAR = State()


def reported(state: State, events: Events, now: int, jitter: float) -> State:
    """The state after some calls have ended. ``jitter`` is a factor on how long it opens.

    While it is open, only the probe's outcome changes it: other calls began before, and credentials
    that are refused.
    """
    state = _counted(state, events, now)
    if events.probe and events.probe == state.probe:
        state = _probed(state, events, now, jitter)
    if events.opens:
        length = max(events.opens, state.length if state.open_until else 0)
        until = max(state.open_until, now + events.opens)
        state = state._replace(open_until=until, length=length, in_a_row=0, slots=())
    elif not state.open_until and _too_many(state):
        again = state.closed_at and now - state.closed_at < RAMP_MS
        length = min(2 * state.length, LONGEST_MS) if again and state.length else FIRST_MS
        state = state._replace(
            open_until=now + int(length * jitter), length=length, in_a_row=0, slots=()
        )
    if events.rests:
        state = state._replace(resting_until=max(state.resting_until, now + events.rests))
    return state


def claimed(state: State, lease: str, now: int) -> tuple[State, bool]:
    """The state with the probe's lease given to ``lease``, and whether it was."""
    if state.phase(now) is not Phase.PROBE:
        return state, False
    return state._replace(probe=lease, probe_until=now + PROBE_MS), True


def _counted(state: State, events: Events, now: int) -> State:
    if not (events.succeeded or events.failed):
        return state
    slot = now // SLOT_MS
    slots = [one for one in state.slots if slot - SLOTS < one[0] <= slot]
    here = next((one for one in slots if one[0] == slot), (slot, 0, 0))
    others = tuple(one for one in slots if one[0] != slot)
    added = (slot, here[1] + events.succeeded, here[2] + events.failed)
    row = events.trailing if events.succeeded else state.in_a_row + events.failed
    return state._replace(in_a_row=row, slots=(*others, added))


def _too_many(state: State) -> bool:
    succeeded = sum(one[1] for one in state.slots)
    failed = sum(one[2] for one in state.slots)
    total = succeeded + failed
    return state.in_a_row >= IN_A_ROW or (total >= SAMPLE and failed >= SHARE * total)


def _probed(state: State, events: Events, now: int, jitter: float) -> State:
    state = state._replace(probe="", probe_until=0)
    if events.probed is None:
        return state
    if events.probed:
        return state._replace(open_until=0, closed_at=now, in_a_row=0, slots=())
    length = min(2 * state.length, LONGEST_MS)
    return state._replace(
        open_until=now + int(length * jitter), length=length, in_a_row=0, slots=()
    )
