"""What many ask for at once is worked out once, and only for a moment."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.routes.reports import fresh
from app.routes.reports.fresh import Fresh
from app.routes.reports.upstreams import labels_of
from cache.quotas.counters import Counters
from tests.cache.stores import on


class Work:
    """Counts how often it was done; fails the first time where it is told to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.times = 0
        self._fails = fails

    async def __call__(self) -> int:
        self.times += 1
        await asyncio.sleep(0)
        if self._fails and self.times == 1:
            raise ValueError
        return self.times


def test_ten_who_ask_at_once_get_one_answer() -> None:
    async def run() -> Any:
        kept, work = Fresh(), Work()
        return await asyncio.gather(*(kept.get("a", work) for _ in range(10))), work.times

    assert asyncio.run(run()) == ([1] * 10, 1)


def test_it_is_worked_out_again_when_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[int]:
        kept, work, found = Fresh(1.0), Work(), []
        for moment in (0.0, 0.9, 1.1):
            monkeypatch.setattr(fresh, "monotonic", lambda at=moment: at)
            found.append(await kept.get("a", work))
        return [*found, await kept.get("b", work)]

    assert asyncio.run(run()) == [1, 1, 2, 3]


def test_whoever_leaves_takes_the_answer_from_nobody() -> None:
    async def run() -> int:
        kept, work = Fresh(), Work()
        first = asyncio.ensure_future(kept.get("a", work))
        await asyncio.sleep(0)
        first.cancel()
        return int(await kept.get("a", work))

    assert asyncio.run(run()) == 1


def test_a_failure_is_everybodys_who_waits() -> None:
    async def run() -> Any:
        kept, work = Fresh(), Work(fails=True)
        both = await asyncio.gather(
            kept.get("a", work), kept.get("a", work), return_exceptions=True
        )
        return [type(one) for one in both]

    assert asyncio.run(run()) == [ValueError, ValueError]


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh, "MOST", 4)

    async def run() -> int:
        kept, work = Fresh(), Work()
        for number in range(20):
            await kept.get(number, work)
        return len(kept._known)

    assert asyncio.run(run()) <= 4


@pytest.mark.parametrize("name", ["a/b", 'q"u,o}te\\', "line\nend", "a=b{c}"])
def test_labels_are_read_as_they_were_written(name: str) -> None:
    async def body(store: Any) -> Any:
        counters = Counters(store)
        counters.add("headgate_x_total", {"target": name, "failure": "connection"})
        await counters.flush()
        return await counters.read()

    [series] = on("memory://", body)
    assert labels_of(series) == ("headgate_x_total", {"target": name, "failure": "connection"})
