"""The binary framing: recorded streams, however they are cut, and frames that are broken."""

from __future__ import annotations

import itertools
import struct
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.providers.bedrock.event_stream import BadFrame, EventStreamParser, Frame


def frame(headers: bytes, payload: bytes) -> bytes:
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    head = prelude + struct.pack(">I", crc32(prelude)) + headers + payload
    return head + struct.pack(">I", crc32(head))


def text_header(name: str, value: str) -> bytes:
    return (
        bytes([len(name)])
        + name.encode()
        + b"\x07"
        + struct.pack(">H", len(value))
        + value.encode()
    )


# The header types of the specification: true, byte, short, integer, long, bytes, timestamp, uuid.
OTHERS = b"".join(
    bytes([1, 97 + kind]) + bytes([kind]) + value
    for kind, value in {
        0: b"",
        1: b"",
        2: b"\x01",
        3: b"\x00\x01",
        4: b"\x00" * 4,
        5: b"\x00" * 8,
        6: b"\x00\x02hi",
        8: b"\x00" * 8,
        9: b"\x00" * 16,
    }.items()
)


@given(
    payloads=st.lists(st.binary(max_size=200), max_size=5),
    cuts=st.lists(st.integers(min_value=0), max_size=20),
)
def test_frames_are_the_same_however_they_are_cut(payloads, cuts):
    data = b"".join(frame(OTHERS + text_header(":event-type", "x"), p) for p in payloads)
    edges = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    parser = EventStreamParser(1000)
    seen = []
    for start, end in itertools.pairwise(edges):
        seen += parser.feed(data[start:end])
    assert seen == [Frame({":event-type": "x"}, payload) for payload in payloads]
    assert parser.empty


@pytest.mark.parametrize("place", [0, 9, 14, -5, -1])
def test_a_flipped_bit_is_noticed_and_what_stood_before_is_given(place):
    good, bad = frame(b"", b"first"), bytearray(frame(b"", b"second"))
    bad[place] ^= 1
    parser = EventStreamParser(1000)
    with pytest.raises(BadFrame) as caught:
        parser.feed(good + bad)
    assert [f.payload for f in caught.value.before] == [b"first"]


def test_a_frame_over_the_bound_is_refused_before_it_is_kept():
    parser = EventStreamParser(100)
    with pytest.raises(BadFrame):
        parser.feed(frame(b"", b"x" * 200)[:12])


def test_headers_that_end_too_early_are_refused():
    with pytest.raises(BadFrame):
        EventStreamParser(1000).feed(frame(b"\x05ab", b""))
