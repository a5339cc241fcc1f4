"""What stands around a finding, for the checks that follow a match."""

from __future__ import annotations

BEFORE = 48  # bytes before a number in which a word may say what it is
# What every row of so many digits has, whatever stands between them.
FIVE_DIGITS = r"\d[^A-Za-z\n]{0,2}\d[^A-Za-z\n]{0,2}\d[^A-Za-z\n]{0,2}\d[^A-Za-z\n]{0,2}\d"


def text_of(data: bytes, start: int, end: int) -> str:
    return data[start:end].decode(errors="replace")


def touches(data: bytes, at: int, side: int, also: bytes = b"") -> bool:
    """Whether a letter, a digit or one of some signs stands at a finding's edge."""
    index = at + side
    if not 0 <= index < len(data):
        return False
    beside = data[index : index + 1]
    return beside.isalnum() or beside in also
