"""Waiting for an event, with a deadline: the only way in which a test may wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE = 10.0  # seconds after which a test that waits has failed


def eventually(found: Callable[[], Any], expected: Any = True, *, within: float = PATIENCE) -> None:
    """Wait until ``found()`` is what is expected."""
    end = time.monotonic() + within
    value = found()
    while value != expected and time.monotonic() < end:
        time.sleep(0.01)  # polling for an event, with a deadline
        value = found()
    assert value == expected, f"{value!r} where {expected!r} was expected"
