"""What a worker's requests did lately: for the dashboard, and only where somebody may look at it.

A finished request costs one append here. Everything else is worked out once a second, when the
worker shares what happened with the others (`cache/quotas/activity.py`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

MAX_WAITING = 20_000  # records between two looks; more are counted and not looked at
MAX_LISTED = 50  # records of one second that are shown; those that failed first
MAX_COUNTED = 2_000  # different counts that wait while the store is out
WINDOW_SECONDS = 60
SLOT_SECONDS = 10  # times are forgotten by so much at once
SMALLEST_MS = 0.05
PER_DOUBLING = 4  # buckets of times: a quantile is off by at most 9 %
LARGEST_BUCKET = 96  # 0.05 ms x 2 ** 24: fourteen minutes
_ENDS = [SMALLEST_MS * 2 ** (bucket / PER_DOUBLING) for bucket in range(LARGEST_BUCKET)]

Histogram = Counter[int]


class Seen(NamedTuple):
    """What is to be shared: records to show, counts to add, and how many requests there were."""

    listed: list[dict[str, Any]]
    counts: dict[str, int]
    requests: int


def bucket_of(milliseconds: float) -> int:
    """The bucket of a time: bucket 0 ends at 0.05 ms, and each next one a quarter doubling later."""
    return bisect_left(_ENDS, milliseconds)


def quantile(histogram: Mapping[int, int], part: float) -> float | None:
    """The time in milliseconds that ``part`` of those counted did not exceed; None without any."""
    total = sum(histogram.values())
    if not total:
        return None
    rank, passed = part * total, 0
    for bucket in sorted(histogram):
        passed += histogram[bucket]
        if passed >= rank:
            break
    return float(SMALLEST_MS * 2 ** ((bucket - 0.5) / PER_DOUBLING))


def error_field(record: Mapping[str, Any]) -> str:
    """The count of a failure: kind, status, code, tenant, key and alias, which may hold anything."""
    code, status = record["error"] or "", record["status"]
    return f"error|{status}|{code}|{record['tenant'] or ''}|{record['key'] or ''}|{record['alias'] or ''}"


def cache_field(record: Mapping[str, Any]) -> str:
    """The count of what the cache did, in the same form: a layer in place of a code, and no key."""
    layer = record.get("cache_layer") or ""
    return f"cache|{record['cache']}|{layer}|{record['tenant'] or ''}||{record['alias'] or ''}"


class Activity:
    """Takes the record of every finished request; ``now`` is unix seconds, by the store's clock."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, dict[str, Any]]] = deque(maxlen=MAX_WAITING)
        self._counts: Counter[str] = Counter()
        self._seconds: dict[int, list[int]] = {}  # requests and failures of each second
        self._times: dict[int, tuple[Histogram, Histogram]] = {}  # first byte, own time

    def add(self, record: dict[str, Any], now: float) -> None:
        """Remember a record, which nobody changes any more."""
        self._waiting.append((now, record))

    def take(self, now: float) -> Seen:
        """Everything since the last look; what of it is counted stays until ``written``."""
        waiting = list(self._waiting)
        self._waiting.clear()
        failed: list[tuple[float, dict[str, Any]]] = []
        for at, record in waiting:
            if self._note(int(at), record):
                failed.append((at, record))
        # The newest, and of them those that failed first.
        chosen = failed[-MAX_LISTED:]
        for at, record in reversed(waiting):
            if len(chosen) >= MAX_LISTED:
                break
            if record["status"] < 400:
                chosen.append((at, record))
        self._forget(int(now))
        shown = [{"time": round(at, 3), **record} for at, record in chosen]
        shown.sort(key=lambda one: float(one["time"]))
        return Seen(shown, dict(self._counts), len(waiting))

    def written(self, seen: Seen) -> None:
        """The counts have been added up in the store."""
        self._counts -= Counter(seen.counts)

    def pulse(self, now: float) -> dict[str, Any]:
        """The last minute: what happened in each second, and the times as sparse histograms."""
        self._forget(int(now))
        first: Histogram = Counter()
        own: Histogram = Counter()
        for slot in self._times.values():
            first += slot[0]
            own += slot[1]
        seconds = [[second, *counts] for second, counts in sorted(self._seconds.items())]
        return {"seconds": seconds, "first_byte": _sparse(first), "gateway": _sparse(own)}

    def _note(self, second: int, record: dict[str, Any]) -> bool:
        """Count a record; whether it failed."""
        cache = record["cache"]
        failed: bool = record["status"] >= 400
        if failed:
            self._count(error_field(record))
        if cache is not None:
            self._count(cache_field(record))
        if record["operation"] is None or cache in ("shadow", "renewal"):
            return failed  # not a caller's call of a model
        counts = self._seconds.get(second)
        if counts is None:
            counts = self._seconds[second] = [0, 0]
        counts[0] += 1
        counts[1] += failed
        slot = self._times.get(second // SLOT_SECONDS)
        if slot is None:
            slot = self._times[second // SLOT_SECONDS] = (Counter(), Counter())
        first, own = slot
        if record["first_byte_ms"] is not None and not failed:
            bucket = bisect_left(_ENDS, record["first_byte_ms"])
            first[bucket] = first.get(bucket, 0) + 1
        bucket = bisect_left(_ENDS, record["gateway_ms"])
        own[bucket] = own.get(bucket, 0) + 1
        return failed

    def _count(self, field: str) -> None:
        if field in self._counts or len(self._counts) < MAX_COUNTED:
            self._counts[field] += 1

    def _forget(self, now: int) -> None:
        oldest = now - WINDOW_SECONDS
        self._seconds = {s: counts for s, counts in self._seconds.items() if s > oldest}
        oldest = (now - WINDOW_SECONDS) // SLOT_SECONDS
        self._times = {s: slot for s, slot in self._times.items() if s > oldest}


def merged(histograms: Iterable[Mapping[str, int]]) -> dict[int, int]:
    """Sparse histograms of several workers as one."""
    sums: Histogram = Counter()
    for one in histograms:
        sums.update({int(bucket): count for bucket, count in one.items()})
    return dict(sums)


def _sparse(histogram: Histogram) -> dict[str, int]:
    return {str(bucket): count for bucket, count in sorted(histogram.items())}
