"""What stands in a Redis about limits, budgets and usage, read without the gateway's code."""

from __future__ import annotations

import json
import math
import time
from typing import Any, NamedTuple, Self

import redis

from tests.harness.waiting import PATIENCE, eventually

EPOCH = 1_767_225_600  # 2026-01-01 UTC, from which the store's microseconds count
DOLLAR = 10**9  # nano-dollars


class Account(NamedTuple):
    """A budget's state, in nano-dollars."""

    spent: int
    held: int


class Books:
    """What the store holds, read without the gateway's code."""

    def __init__(self, port: int) -> None:
        self.redis = redis.Redis(port=port, decode_responses=True, socket_timeout=PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.redis.close()

    def account(self, tenant: str, scope: str) -> Account:
        """The account of a scope whose budget is per month."""
        month = time.strftime("%Y-%m", time.gmtime())
        fields = self.redis.hgetall(f"hg1:{{{tenant}}}:account:{scope}:{month}")
        return Account(int(fields.get("spent", 0)), int(fields.get("held", 0)))

    def records(self, tenant: str) -> list[dict[str, Any]]:
        entries = self.redis.xrange(f"hg1:{{{tenant}}}:records")
        kept = [json.loads(fields["r"]) for _, fields in entries]  # each holds one or several
        return [r for entry in kept for r in (entry if isinstance(entry, list) else [entry])]

    def wait_for_records(self, tenant: str, count: int) -> list[dict[str, Any]]:
        """Exactly so many, once they are written."""
        eventually(lambda: len(self.records(tenant)), count)
        return self.records(tenant)

    def tokens_taken(self, tenant: str, scope: str, per_minute: int) -> int:
        """What is missing from a bucket of tokens now."""
        full_at = self.redis.get(f"hg1:{{{tenant}}}:bucket:{scope}:tokens")
        seconds, micros = self.redis.time()
        now = (seconds - EPOCH) * 1_000_000 + micros
        return max(0, math.ceil((float(full_at or 0) - now) * per_minute / 60_000_000 - 1e-9))

    def slots_taken(self, tenant: str, scope: str) -> int:
        return self.redis.zcard(f"hg1:{{{tenant}}}:slots:{scope}")

    @property
    def replicas(self) -> int:
        """Those whose sign of life has not run out."""
        return self.redis.zcount("hg1:replicas", time.time(), "+inf")

    def beats(self) -> dict[str, float]:
        """Each replica's latest sign of life."""
        return dict(self.redis.zrange("hg1:replicas", 0, -1, withscores=True))


def spent_of(records: list[dict[str, Any]]) -> int:
    return sum(record["cost"] or 0 for record in records)
