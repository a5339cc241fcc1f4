"""``headgate usage``: the counters of the shared store as a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from app.config.settings import Store as StoreSettings
from app.core.pricing import dollars_text
from app.core.units import NanoDollars
from cache.quotas.usage import UsageRow, read_usage
from cache.store.clock import time_of
from cache.store.opening import open_store

HEADINGS = (
    "tenant", "key", "model", "requests", "errors", "prompt tokens", "completion tokens", "cost USD",
    "saved USD",
)  # fmt: skip
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
    """Aligned lines, the sum last."""
    cells = [list(HEADINGS)]
    cells += [[row.tenant, row.key, row.model or "-", *_numbers(row.counts)] for row in rows]
    total: dict[str, int] = {}
    for row in rows:
        for name, count in row.counts.items():
            total[name] = total.get(name, 0) + count
    cells.append(["total", "", "", *_numbers(total)])
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    return [
        "  ".join(
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]


def _numbers(counts: dict[str, int]) -> list[str]:
    names = ("requests", "errors", "prompt_tokens", "completion_tokens")
    money = (dollars_text(NanoDollars(counts.get(name, 0))) for name in ("cost", "saved"))
    return [*(f"{counts.get(name, 0):,}" for name in names), *money]
