"""Limits that hold across replicas: one script decides every bucket and slot of a request."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Container, Sequence
from functools import partial
from random import getrandbits
from typing import NamedTuple

from app.core.limits import Bucket, Decision, Level, Slots, level
from cache.quotas.local_limits import LocalLimits
from cache.store import key_names as names
from cache.store.base import Store, StoreUnavailable, script

LEASE_SECONDS = 60.0  # how long a dead replica's slots stay taken
RENEWALS = 4  # a lease is renewed this many times in its own length
GHOST_SECONDS = 0.25
MAX_GHOSTS = 10_000  # slots that an unanswered command may have taken


class LimitPlan(NamedTuple):
    """Every limit on one key's requests for one model, names and numbers worked out once.

    ``keys`` are the buckets', then the slots'; ``admit_keys`` end with the tenant's index.
    """

    buckets: tuple[Bucket, ...]
    slots: tuple[Slots, ...]
    keys: tuple[str, ...]
    admit_keys: tuple[str, ...]

    @classmethod
    def of(cls, tenant: str, buckets: Sequence[Bucket], slots: Sequence[Slots]) -> LimitPlan:
        keys = [names.bucket(tenant, bucket.scope, bucket.unit) for bucket in buckets]
        keys += [names.slots(tenant, slot.scope) for slot in slots]
        admit_keys = (*keys, names.index(tenant))
        return cls(tuple(buckets), tuple(slots), tuple(keys), admit_keys)

    @property
    def slot_keys(self) -> tuple[str, ...]:
        return self.keys[len(self.buckets) :]

    @property
    def free_keys(self) -> tuple[str, ...]:
        """What freeing the slots needs."""
        return self.admit_keys[len(self.buckets) :]


class Admission(NamedTuple):
    """A decision, and what settling it needs. ``reserved`` is in tokens."""

    decision: Decision
    lease: str
    reserved: int


class Limiter:
    """Admits requests and settles them afterwards.

    While the store is unavailable it decides alone, by this replica's share of each limit
    (``on_outage`` local), or lets everything pass (allow), or raises StoreUnavailable (refuse).
    """

    def __init__(self, store: Store, on_outage: str, lease: float = LEASE_SECONDS) -> None:
        self._lease = lease
        self._store = store
        self._on_outage = on_outage
        self._admit = script("admit", on_full_server=True)
        self._settle = script("settle_limits", on_full_server=True)
        self._renew = script("renew", on_full_server=True)
        self._adopt = script("adopt", on_full_server=True)
        self._local = LocalLimits()
        self._ghosts: deque[tuple[tuple[str, ...], str]] = deque(maxlen=MAX_GHOSTS)
        self._running: dict[str, dict[str, None]] = {}  # slot key -> leases of this process
        self._tasks: set[asyncio.Task[None]] = set()

    def share(self, replicas: int) -> None:
        """How many replicas there are, for the local share of a limit."""
        self._local.replicas = max(1, replicas)

    async def admit(
        self, plan: LimitPlan, tokens: int, requests: int = 1, taken: Container[str] = ()
    ) -> Admission:
        """Take ``requests`` and ``tokens`` from every bucket of a plan, and its slots, or nothing.

        ``taken`` are the keys of buckets from which this request has taken one already.
        """
        lease = f"{getrandbits(96):024x}"
        args: list[object] = [lease, int(self._lease * 1e6), len(plan.buckets)]
        for key, bucket in zip(plan.keys, plan.buckets, strict=False):
            cost = tokens if bucket.unit == "tokens" else requests - (key in taken)
            args += (bucket.interval, bucket.burst, cost)
        args += [slot.most for slot in plan.slots]
        try:
            answer = await self._store.run(self._admit, plan.admit_keys, args)
        except StoreUnavailable:
            # It may be done all the same, by a store that was only slow to answer.
            if plan.slots:
                self._ghosts.append((plan.free_keys, lease))
            if self._on_outage == "refuse":
                raise
            if self._on_outage == "allow":
                return Admission(Decision(True, local=True), lease, 0)
            return Admission(
                self._local.admit(
                    plan.buckets,
                    plan.slots,
                    plan.keys,
                    lease,
                    tokens,
                    self._running,
                    requests,
                    taken,
                ),
                lease,
                tokens,
            )
        decision = _decision(plan, answer)
        if decision.allowed and plan.slots:
            self._note(plan, lease)
        return Admission(decision, lease, tokens)

    def settle(self, plan: LimitPlan, admission: Admission, used: int) -> None:
        """Free the slots, and correct the token buckets to what was really ``used``.

        Not waited for by the caller's answer. Where the store is gone, slots are freed when it is
        back, and refills mend the buckets.
        """
        if admission.decision.local:
            self._local.settle(
                plan.buckets, plan.keys, plan.slots, admission.lease, admission.reserved - used
            )
            slot_keys = plan.slot_keys
            if any(admission.lease in self._running.get(key, ()) for key in slot_keys):
                self._forget(plan, admission.lease)
                self._ghosts.append((plan.free_keys, admission.lease))
            return
        self._forget(plan, admission.lease)
        units = admission.reserved - used
        buckets = [
            (key, bucket)
            for key, bucket in zip(plan.keys, plan.buckets, strict=False)
            if bucket.unit == "tokens" and units
        ]
        slot_keys = plan.slot_keys
        if not buckets and not slot_keys:
            return
        args: list[object] = [admission.lease, len(buckets)]
        for _, bucket in buckets:
            args += (bucket.interval, units)
        keys = [*(key for key, _ in buckets), *plan.free_keys]
        ghost = (plan.free_keys, admission.lease)
        self._store.tell(
            self._settle, keys, args, partial(self._ghosts.append, ghost) if slot_keys else None
        )

    async def keep_leases(self) -> None:
        """Renew the leases of running requests, and free slots that nobody has, while this runs."""
        elapsed = 0.0
        turn = min(GHOST_SECONDS, self._lease / RENEWALS)
        while True:
            await asyncio.sleep(turn)
            elapsed += turn
            if not self._store.breaker.open:
                self.lay_ghosts()
                self._bring_home()
            if elapsed >= self._lease / RENEWALS:
                elapsed = 0.0
                await self._renew_all()

    def lay_ghosts(self) -> None:
        """Free slots in the store that an unanswered command may have taken."""
        for _ in range(len(self._ghosts)):
            ghost = self._ghosts.popleft()
            keys, lease = ghost
            self._store.tell(self._settle, keys, [lease, 0], partial(self._ghosts.append, ghost))

    def _bring_home(self) -> None:
        """Requests admitted alone that still run count in the store again, now that it is back."""
        for key, leases in self._local.leases.items():
            strangers = [lease for lease in leases if lease not in self._running.get(key, ())]
            if strangers:
                self._running.setdefault(key, {}).update(dict.fromkeys(strangers))
                args = [int(self._lease * 1e6), *strangers]
                self._store.tell(self._adopt, [key, names.index_beside(key)], args)

    async def _renew_all(self) -> None:
        for key, leases in list(self._running.items()):
            if leases:
                try:
                    await self._store.run(self._renew, [key], [int(self._lease * 1e6), *leases])
                except StoreUnavailable:
                    break

    def _note(self, plan: LimitPlan, lease: str) -> None:
        for key in plan.slot_keys:
            self._running.setdefault(key, {})[lease] = None

    def _forget(self, plan: LimitPlan, lease: str) -> None:
        for key in plan.slot_keys:
            leases = self._running.get(key)
            if leases is not None:
                leases.pop(lease, None)
                if not leases:
                    del self._running[key]


def _decision(plan: LimitPlan, answer: list[object]) -> Decision:
    """The script's answer as a value."""
    allowed, wait, place, now_text, *full = answer
    now = float(now_text)  # type: ignore[arg-type]
    levels: list[Level] = [
        level(bucket, float(at), now)  # type: ignore[arg-type]
        for bucket, at in zip(plan.buckets, full, strict=True)
    ]
    if allowed:
        return Decision(True, levels)
    index = int(place) - 1  # type: ignore[call-overload]
    if index < len(plan.buckets):
        bucket = plan.buckets[index]
        refused_by = (bucket.scope, bucket.unit)
    else:
        refused_by = (plan.slots[index - len(plan.buckets)].scope, "concurrent")
    waiting = int(wait)  # type: ignore[call-overload]
    return Decision(False, levels, None if waiting < 0 else waiting, refused_by)
