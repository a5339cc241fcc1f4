"""What a budget is: an amount for each window of time, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from app.core.units import NanoDollars

DAY = 86400


class BudgetRule(NamedTuple):
    """``limit`` for each ``per`` (hour, day, week, month)."""

    limit: NanoDollars
    per: str


class Budget(NamedTuple):
    """``limit`` for each ``per`` (hour, day, week, month) of a scope."""

    scope: str
    limit: NanoDollars
    per: str


class Window(NamedTuple):
    """One span of a budget: its name, and unix seconds of its start and end."""

    name: str
    start: int
    end: int


def window(per: str, now: float) -> Window:
    """The window that a moment (unix seconds) falls into; weeks begin on Monday."""
    moment = datetime.fromtimestamp(now, UTC)
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if per == "hour":
        start = moment.replace(minute=0, second=0, microsecond=0)
        end, name = start + timedelta(hours=1), start.strftime("%Y-%m-%dT%H")
    elif per == "day":
        start, end, name = midnight, midnight + timedelta(days=1), midnight.strftime("%Y-%m-%d")
    elif per == "week":
        start = midnight - timedelta(days=midnight.weekday())
        end, name = start + timedelta(days=7), start.strftime("%G-W%V")
    else:
        start = midnight.replace(day=1)
        end = (start + timedelta(days=32)).replace(day=1)
        name = start.strftime("%Y-%m")
    return Window(name, int(start.timestamp()), int(end.timestamp()))
