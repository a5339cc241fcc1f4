"""Types for numbers and bytes that are easily mistaken for others: mypy refuses a mix-up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NewType

Millis = NewType("Millis", int)
"""Milliseconds, of a span or since 1970."""

NanoDollars = NewType("NanoDollars", int)
"""Money in whole nano-dollars."""

Digest = NewType("Digest", bytes)
"""The 32 bytes by which the answer to one prompt is known, or a flight for several."""

NO_DIGEST = Digest(b"")

FREE = NanoDollars(0)


def total(amounts: Iterable[NanoDollars]) -> NanoDollars:
    """The sum of some amounts."""
    return NanoDollars(sum(amounts))
