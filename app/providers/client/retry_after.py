"""How long an upstream asks to be left alone: ``Retry-After`` in all its spellings. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

MAX_SECONDS = 10**9
_SECONDS = re.compile(rb"\d{1,9}(?:\.\d{1,6})?").fullmatch
_MILLISECONDS = (b"retry-after-ms", b"x-ms-retry-after-ms")  # OpenAI's, and Azure's


def told_wait(headers: Mapping[bytes, bytes], now: float) -> float | None:
    """Seconds until a retry is welcome, by headers with lower-case names; None where none says so.

    Milliseconds go before seconds, because they say the same more precisely. A date (RFC 9110,
    section 10.2.3) is compared with ``now``, in unix seconds; one that has passed is no wait.
    """
    for name in _MILLISECONDS:
        told = headers.get(name, b"").strip()
        if _SECONDS(told):
            return float(told) / 1000
    told = headers.get(b"retry-after", b"").strip()
    if _SECONDS(told):
        return float(told)
    if not told:
        return None
    try:
        moment = parsedate_to_datetime(told.decode("ascii")).timestamp()
    except (ValueError, UnicodeDecodeError, OverflowError):
        return None
    return min(max(0.0, moment - now), MAX_SECONDS)
