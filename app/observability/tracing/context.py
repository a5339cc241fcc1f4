"""Which trace a request belongs to, as the header ``traceparent`` says it. Pure.

Source: W3C Trace Context, level 2, section 3.2.
"""

from __future__ import annotations

import re
from random import getrandbits
from typing import NamedTuple

HEADER = b"traceparent"
STATE = b"tracestate"
SAMPLED = 1

_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?").fullmatch


class Parent(NamedTuple):
    """Who asked us: identifiers in hexadecimal."""

    trace_id: str
    span_id: str
    sampled: bool


def parent_of(value: bytes | None) -> Parent | None:
    """The parent that a header names; None where it is missing or not valid.

    A later version may say more after the fields that we know.
    """
    match = _PARENT(value) if value is not None and len(value) <= 512 else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    if trace_id == b"0" * 32 or span_id == b"0" * 16:
        return None
    return Parent(trace_id.decode(), span_id.decode(), bool(int(flags, 16) & SAMPLED))


def header_of(trace_id: str, span_id: str, *, sampled: bool) -> bytes:
    """What whoever we ask is told."""
    return f"00-{trace_id}-{span_id}-{int(sampled):02x}".encode()


def new_trace_id() -> str:
    return f"{getrandbits(128) or 1:032x}"


def new_span_id() -> str:
    return f"{getrandbits(64) or 1:016x}"
