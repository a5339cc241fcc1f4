"""Every target's health as one worker knows it, shared with the others through the store.

A worker decides by its own copy, which is at most a second old: what it saw itself counts in it at
once, what others saw comes with the next look into the store. While the store is out, and where
there is none to share, the copy is all there is, and the same rules are applied to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from random import getrandbits, random
from time import monotonic
from typing import Any

import structlog

from app.core.usage import Counts
from app.providers.routing import breaker as rules
from app.providers.routing.breaker import Events, Phase, State
from app.providers.routing.health import TargetHealth
from app.providers.routing.retry import Failure, Kind, verdict
from cache.store.base import Store, StoreUnavailable, script
from cache.store.key_names import TARGETS, target

STEP_SECONDS = 0.5  # between two looks: with the answer's way, a copy is at most a second old
ALARM_SECONDS = 60.0
OPENINGS = "headgate_target_openings_total"


class SharedHealth:
    """The health of every target of every configuration at work in this worker.

    ``now`` gives unix seconds, the store's. ``counts`` is told of openings.
    """

    def __init__(self, store: Store, now: Callable[[], float], counts: Counts) -> None:
        self._store = store
        self._now = now
        self._counts = counts
        self._report = script("report_target", on_full_server=True)
        self._probe = script("probe_target", on_full_server=True)
        self._known: dict[str, TargetHealth] = {}
        self._alarmed: dict[str, float] = {}
        self._soon = asyncio.Event()
        self._log = structlog.get_logger("headgate")

    def of(self, name: str) -> TargetHealth:
        """The health of the target of this name."""
        return self._known.setdefault(name, TargetHealth(name))

    def keep(self, names: Iterable[str]) -> None:
        """Forget every target but these, and those that have calls in flight."""
        names = set(names)
        self._known = {
            name: one for name, one in self._known.items() if name in names or one.in_flight
        }

    def now_ms(self) -> int:
        return int(self._now() * 1000)

    def phase(self, one: TargetHealth) -> Phase:
        """What may be sent to a target now."""
        return Phase.CLOSED if one.clear else one.state.phase(self.now_ms())

    def ramp(self, one: TargetHealth) -> float:
        """The part of its weight that a target gets now."""
        return 1.0 if one.clear else one.state.ramp(self.now_ms())

    def reopens_in(self, one: TargetHealth) -> float:
        """Seconds until a target may be asked again."""
        return 0.0 if one.clear else one.state.reopens_in(self.now_ms()) / 1000

    def unwell(self) -> dict[str, str]:
        """The phase of every target that is not closed, by name."""
        now = self.now_ms()
        phases = ((name, one.state.phase(now)) for name, one in sorted(self._known.items()))
        return {name: phase.value for name, phase in phases if phase is not Phase.CLOSED}

    def phases(self) -> dict[str, str]:
        """The phase of every target, by name."""
        now = self.now_ms()
        return {name: one.state.phase(now).value for name, one in sorted(self._known.items())}

    def calls(self) -> dict[str, dict[str, int]]:
        """How many calls this worker made, by target and result: ``ok``, or the kind of failure."""
        return {
            name: {"ok": one.answered, **one.failures} for name, one in sorted(self._known.items())
        }

    def names(self) -> list[str]:
        """Every target that was asked, or is not well."""
        return sorted(self._known)

    def levels(self) -> dict[str, dict[str, int]]:
        """What each target with a capacity had left when this worker asked last."""
        return {name: dict(one.level) for name, one in sorted(self._known.items()) if one.level}

    async def claim(self, one: TargetHealth) -> str:
        """The lease of the one probe of a target that was open for long enough; empty where another
        has it, in this worker or anywhere."""
        lease = f"{getrandbits(64):016x}"
        if self._shared:
            try:
                keys, args = [target(one.name), TARGETS], [one.name, lease, rules.PROBE_MS]
                answer = await self._store.run(self._probe, keys, args)
            except StoreUnavailable:
                pass
            else:
                self._take_state(one, one.state.in_a_row, answer[2:])
                return lease if answer[1] else ""
        one.state, given = rules.claimed(one.state, lease, self.now_ms())
        return lease if given else ""

    def succeeded(self, one: TargetHealth, lease: str = "") -> None:
        """A call was answered."""
        one.note_success()
        if lease:
            self._see(one, Events(probe=lease, probed=True))

    def failed(self, one: TargetHealth, failure: Failure, lease: str = "") -> None:
        """A call was not answered; whether that is the target's fault is a question for the table."""
        what = verdict(failure)
        if failure.kind is Kind.CREDENTIALS:
            self._alarm(one, failure)
        bad = what.counts or bool(what.opens or what.rests)
        if not bad:
            self.succeeded(one, lease)  # it was there, and answered
            return
        opens, rests = int(what.opens * 1000), int(what.rests * 1000)
        probed = False if lease else None
        self._see(one, Events(0, int(what.counts), 0, opens, rests, lease, probed))

    def released(self, one: TargetHealth, lease: str) -> None:
        """A probe ended without an outcome, because its caller left."""
        if lease:
            self._see(one, Events(probe=lease))

    def _see(self, one: TargetHealth, seen: Events) -> None:
        """Count it in the own copy at once, and tell the others soon.

        The copy that the store answers with replaces this one.
        """
        self._apply(one, one.note(seen))
        if self._shared:
            one.clear = False
            self._soon.set()

    def _apply(self, one: TargetHealth, events: Events) -> None:
        now, before = self.now_ms(), one.state
        one.state = after = rules.reported(before, events, now, _jitter())
        one.clear = _is_clear(after, now)
        if not self._shared and bool(before.open_until) != bool(after.open_until):
            self._say(one, "opened" if after.open_until else "closed")

    @property
    def _shared(self) -> bool:
        return self._store.shared and not self._store.breaker.open

    async def keep_in_step(self) -> None:
        """Tell what was seen here and hear what others saw, while this task runs."""
        while True:
            try:
                async with asyncio.timeout(STEP_SECONDS):
                    await self._soon.wait()
            except TimeoutError:
                pass
            self._soon.clear()
            await self.step()

    async def step(self) -> None:
        """Tell and hear once."""
        waiting = [one for one in self._known.values() if one.waiting]
        if not self._shared:
            for one in waiting:
                one.take()
                successes, one.unapplied = one.unapplied, 0
                self._apply(one, Events(successes))
            self._tidy()
            return
        try:
            await asyncio.gather(*(self._tell(one) for one in waiting))
            found = await self._store.command("HGETALL", TARGETS)
        except StoreUnavailable:
            return
        pairs = (
            found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
        )
        unwell = {name.decode(): text.split(b" ") for name, text in pairs}
        for name, one in self._known.items():
            fields = unwell.get(name)
            if fields is not None:
                self._take_state(one, one.state.in_a_row, fields)
            elif not one.clear and not one.waiting:
                one.state = State(one.state.in_a_row, slots=one.state.slots)
                one.clear = True

    async def _tell(self, one: TargetHealth) -> None:
        events = one.take()
        probed = "" if events.probed is None else int(events.probed)
        args: list[Any] = [one.name, *events[:5], events.probe, probed, _jitter()]
        answer = await self._store.run(self._report, [target(one.name), TARGETS], args)
        self._take_state(one, int(answer[2]), answer[3:])
        if answer[1]:
            self._say(one, answer[1].decode())

    def _take_state(self, one: TargetHealth, in_a_row: int, fields: list[Any]) -> None:
        """The store's state is the state; what was seen since is in the events."""
        open_until, length, probe, probe_until, closed_at, resting_until = fields
        one.state = state = State(
            in_a_row, int(open_until), int(length), probe.decode(), int(probe_until),
            int(closed_at), int(resting_until), one.state.slots,
        )  # fmt: skip
        one.clear = _is_clear(state, self.now_ms())

    def _tidy(self) -> None:
        now = self.now_ms()
        for one in self._known.values():
            one.clear = _is_clear(one.state, now)

    def _say(self, one: TargetHealth, what: str) -> None:
        if what == "opened":
            self._counts.add(OPENINGS, {"target": one.name})
            self._log.warning("target_opened", target=one.name, seconds=self.reopens_in(one))
        else:
            self._log.info("target_closed", target=one.name)

    def _alarm(self, one: TargetHealth, failure: Failure) -> None:
        """Say once a minute that a target does not take us as it is configured."""
        now = monotonic()
        if now - self._alarmed.get(one.name, -ALARM_SECONDS) >= ALARM_SECONDS:
            self._alarmed[one.name] = now
            self._log.error("target_refuses_us", target=one.name, status=failure.label)


def _is_clear(state: State, now: int) -> bool:
    return not state.open_until and now >= state.resting_until and state.ramp(now) >= 1.0


def _jitter() -> float:
    return 0.9 + 0.2 * random()  # noqa: S311 - so that targets do not open all at once
