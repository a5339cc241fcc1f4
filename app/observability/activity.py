"""What a worker's requests did lately: for the dashboard, and only where somebody may look at it.

A finished request costs one append here. Everything else is worked out once a second, when the
worker shares what happened with the others (`cache/quotas/activity.py`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from math import ceil, log2
from typing import Any, NamedTuple

MAX_WAITING = 20_000  # records between two looks; more are counted and not looked at
MAX_LISTED = 50  # records of one second that are shown; those that failed first
MAX_COUNTED = 2_000  # different counts that wait while the store is out
WINDOW_SECONDS = 60
SLOT_SECONDS = 10  # times are forgotten by so much at once
SMALLEST_MS = 0.05
PER_DOUBLING = 4  # buckets of times: a quantile is off by at most 9 %
LARGEST_BUCKET = 96  # 0.05 ms x 2 ** 24: fourteen minutes

Histogram = Counter[int]


class Seen(NamedTuple):
    """What is to be shared: records to show, counts to add, and how many requests there were."""

    listed: list[dict[str, Any]]
    counts: dict[str, int]
    requests: int


def bucket_of(milliseconds: float) -> int:
    """The bucket of a time: bucket 0 ends at 0.05 ms, and each next one a quarter doubling later."""
    if milliseconds <= SMALLEST_MS:
        return 0
    return min(LARGEST_BUCKET, ceil(log2(milliseconds / SMALLEST_MS) * PER_DOUBLING))


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
        shown: list[dict[str, Any]] = []
        for at, record in waiting:
            self._note(int(at), record)
        # The newest, and of them those that failed first.
        for failed in (True, False):
            for at, record in reversed(waiting):
                if len(shown) < MAX_LISTED and (record["status"] >= 400) is failed:
                    shown.append(_shown(at, record))
        self._forget(int(now))
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

    def _note(self, second: int, record: dict[str, Any]) -> None:
        status, cache = record["status"], record["cache"]
        failed = status >= 400
        if failed:
            self._count(error_field(record))
        if cache is not None:
            self._count(cache_field(record))
        if record["operation"] is None or cache in ("shadow", "renewal"):
            return  # not a caller's call of a model
        counts = self._seconds.setdefault(second, [0, 0])
        counts[0] += 1
        counts[1] += failed
        slot = self._times.setdefault(second // SLOT_SECONDS, (Counter(), Counter()))
        if record["first_byte_ms"] is not None and not failed:
            slot[0][bucket_of(record["first_byte_ms"])] += 1
        slot[1][bucket_of(record["gateway_ms"])] += 1

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


def _shown(at: float, record: dict[str, Any]) -> dict[str, Any]:
    return {"time": round(at, 3), **record}
