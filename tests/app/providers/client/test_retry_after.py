"""How long an upstream asks to be left alone, in each spelling."""

from __future__ import annotations

import pytest

from app.providers.client.retry_after import MAX_SECONDS, told_wait

NOW = 1_792_567_680.0  # Wed, 21 Oct 2026 07:28:00 GMT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({b"retry-after": b"7"}, 7),
        ({b"retry-after": b" 0.5 "}, 0.5),
        ({b"retry-after-ms": b"250"}, 0.25),
        ({b"x-ms-retry-after-ms": b"1500"}, 1.5),
        ({b"retry-after": b"1", b"retry-after-ms": b"250"}, 0.25),
        ({b"retry-after": b"Wed, 21 Oct 2026 07:28:30 GMT"}, 30),
        ({b"retry-after": b"Wed, 21 Oct 2026 07:00:00 GMT"}, 0),
        ({b"retry-after": b"Fri, 31 Dec 9999 23:59:59 GMT"}, MAX_SECONDS),
        ({b"retry-after": b"soon"}, None),
        ({b"retry-after": b"-1"}, None),
        ({b"retry-after": b"9" * 20}, None),
        ({b"retry-after": b"\xff"}, None),
        ({}, None),
    ],
)
def test_each_spelling_is_read(headers: dict[bytes, bytes], seconds: float | None) -> None:
    assert told_wait(headers, NOW) == seconds
