"""A command on its way to the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from cache.connection import Script


class Pending(NamedTuple):
    """Who waits for its answer, or what to do if there is none; ``asked`` is loop time."""

    args: tuple[Any, ...]
    script: Script | None
    answer: asyncio.Future[Any] | None
    failed: Callable[[], None] | None
    asked: float
