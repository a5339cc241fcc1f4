"""Several calls for one request, some of them at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


async def run_together(
    items: Iterable[Item], ask: Callable[[Item], Awaitable[None]], *, at_a_time: int
) -> None:
    """Ask for every item; the first failure ends the others, and is raised as it is.

    An item is taken when its turn comes, so that what it holds need not all be made at once.
    """
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await ask(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_a_time):
                group.create_task(worker())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
