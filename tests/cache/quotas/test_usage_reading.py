"""Usage as tenants read it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from cache.quotas.usage import UsageLog, periods_between
from cache.store.base import Store
from tests.cache.quotas.test_usage import MOMENT, record, rows
from tests.cache.stores import on


def test_tenants_see_their_own(url: str) -> None:
    async def body(store: Store) -> Any:
        log = UsageLog(store)
        log.add(record(tenant="other"), MOMENT.timestamp())
        await log.flush()
        return await rows(store, MOMENT, MOMENT)

    assert on(url, body) == {}


@pytest.mark.parametrize(
    ("since", "span", "first", "last", "count"),
    [
        (MOMENT, timedelta(0), "2026-03-04T05", "2026-03-04T05", 1),
        (MOMENT, timedelta(seconds=1), "2026-03-04T05", "2026-03-04T06", 2),
        (MOMENT, timedelta(hours=24), "2026-03-04T05", "2026-03-05T05", 25),
        (MOMENT, timedelta(days=7), "2026-03-04T05", "2026-03-11T05", 169),
        (MOMENT, timedelta(days=7, seconds=1), "2026-03-04", "2026-03-11", 8),
        (MOMENT, timedelta(days=30), "2026-03-04", "2026-04-03", 31),
    ],
)
def test_periods_cover_a_span(
    since: datetime, span: timedelta, first: str, last: str, count: int
) -> None:
    periods = periods_between(since, since + span)
    assert (periods[0], periods[-1], len(periods)) == (first, last, count)
    assert len(set(periods)) == count
