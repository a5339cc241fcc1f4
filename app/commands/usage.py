"""``headgate usage``: the counters of the shared store as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from app.config.settings import Store as StoreSettings
from app.core.pricing import dollars_text
from app.core.units import NanoDollars
from cache.quotas.usage import DETAILS, UsageRow, read_usage
from cache.store.clock import time_of
from cache.store.opening import open_store

HEADINGS = ("tenant", "key", "model")
NUMBERS = {
    "requests": "requests", "errors": "errors", "prompt_tokens": "prompt tokens",
    "cached_tokens": "cached", "cache_write_tokens": "cache writes",
    "completion_tokens": "completion tokens", "reasoning_tokens": "reasoning", "cost": "cost USD",
    "saved": "saved USD",
}  # fmt: skip
MONEY = ("cost", "saved")
COMMAND_TIMEOUT = 5.0  # seconds a command may take: nobody's request waits behind this one


async def collect(
    settings: StoreSettings, tenants: Sequence[str], span: timedelta
) -> list[UsageRow]:
    """The rows of these tenants over the last ``span``. Raises StoreUnavailable."""
    store = open_store(settings.url.reveal(), COMMAND_TIMEOUT)
    try:
        until = datetime.fromtimestamp(await time_of(store), UTC)
        rows = []
        for tenant in tenants:
            rows += await read_usage(store, tenant, until - span, until)
        return rows
    finally:
        await store.aclose()


def table(rows: Sequence[UsageRow]) -> list[str]:
    """Aligned lines, the sum last. Kinds of tokens of which there are none have no column."""
    total = _summed(rows)
    names = [name for name in NUMBERS if name not in DETAILS or total.get(name)]
    cells = [[*HEADINGS, *(NUMBERS[name] for name in names)]]
    cells += [[row.tenant, row.key, row.model or "-", *_numbers(row.counts, names)] for row in rows]
    cells.append(["total", "", "", *_numbers(total, names)])
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]


def document(rows: Sequence[UsageRow], span: timedelta) -> dict[str, Any]:
    """The same for programs; dollars are texts, because they are exact."""
    return {
        "object": "usage",
        "span_seconds": int(span.total_seconds()),
        "rows": [
            {"tenant": row.tenant, "key": row.key, "model": row.model or None, **_exact(row.counts)}
            for row in rows
        ],
        "total": _exact(_summed(rows)),
    }


def _exact(counts: Mapping[str, int]) -> dict[str, Any]:
    return {
        f"{name}_usd" if name in MONEY else name: _dollars(counts.get(name, 0))
        if name in MONEY
        else counts.get(name, 0)
        for name in NUMBERS
    }


def _summed(rows: Sequence[UsageRow]) -> dict[str, int]:
    total: dict[str, int] = {}
    for row in rows:
        for name, count in row.counts.items():
            total[name] = total.get(name, 0) + count
    return total


def _dollars(count: int) -> str:
    return dollars_text(NanoDollars(count))


def _numbers(counts: dict[str, int], names: Sequence[str]) -> list[str]:
    return [
        _dollars(counts.get(name, 0)) if name in MONEY else f"{counts.get(name, 0):,}"
        for name in names
    ]
