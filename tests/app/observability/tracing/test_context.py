"""Which trace a request belongs to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.observability.tracing.context import Parent, header_of, new_span_id, parent_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True)]
)
def test_a_valid_parent_is_read(flags: str, sampled: bool) -> None:
    assert parent_of(f"00-{TRACE}-{SPAN}-{flags}".encode()) == Parent(TRACE, SPAN, sampled)


def test_a_later_version_may_say_more() -> None:
    parent = Parent(TRACE, SPAN, True)
    assert parent_of(f"01-{TRACE}-{SPAN}-01".encode()) == parent
    assert parent_of(f"cc-{TRACE}-{SPAN}-01-more".encode()) == parent


@pytest.mark.parametrize(
    "invalid",
    [
        None,
        b"",
        b"00",
        f"00-{TRACE}-{SPAN}-01-more".encode(),
        f"ff-{TRACE}-{SPAN}-01".encode(),
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE.upper()}-{SPAN}-01".encode(),
        f"00-{TRACE}-{SPAN}-1".encode(),
        f"00-{TRACE}-{SPAN}".encode(),
        f" 00-{TRACE}-{SPAN}-01".encode(),
        f"01-{TRACE}-{SPAN}-01-{'x' * 600}".encode(),
        "00-é".encode(),
    ],
)
def test_any_other_is_no_parent(invalid: bytes | None) -> None:
    assert parent_of(invalid) is None


@given(st.booleans())
def test_what_is_written_is_read(sampled: bool) -> None:
    span = new_span_id()
    assert parent_of(header_of(TRACE, span, sampled=sampled)) == Parent(TRACE, span, sampled)
