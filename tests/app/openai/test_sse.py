"""Any legal framing of an event stream says the same."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.openai.sse import DONE, DONE_EVENT, EventParser, EventTooLarge, event

ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
WORDS = st.sampled_from(
    [
        b"",
        b"{}",
        b'{"a":1}',
        b"a b",
        b" lead",
        b":",
        b"data: x",
        b"[DONE]",
        "é😀".encode(),
        b"x" * 40,
    ]
)
NOISE = st.sampled_from(
    [b": comment", b":", b"event: message", b"id: 7", b"retry: 10", b"other", b": data: no", b"dat"]
)


def fed(parser: EventParser, stream: bytes, cuts: list[int]) -> list[bytes]:
    payloads: list[bytes] = []
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, end in itertools.pairwise(places):
        payloads += parser.feed(stream[start:end])
    return payloads


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """The payloads of a stream, and one legal way of writing it."""
    payloads, stream = [], draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    # A CR that an LF follows is one line end, so within a stream CR alone ends no line before
    # an LF that is meant as another: one style a stream, or CRLF and LF mixed.
    alone = draw(st.booleans())
    end = st.just(b"\r") if alone else st.sampled_from([b"\n", b"\r\n"])
    for _ in range(draw(st.integers(0, 4))):
        lines = draw(st.lists(WORDS, min_size=0, max_size=3))
        for line in lines:
            for noise in draw(st.lists(NOISE, max_size=1)):
                stream += noise + draw(end)
            space = draw(st.sampled_from([b" ", b""])) if not line.startswith(b" ") else b" "
            bare = line == b"" and draw(st.booleans())
            stream += (b"data" if bare else b"data:" + space + line) + draw(end)
        stream += draw(end)
        if lines:
            payloads.append(b"\n".join(lines))
    return payloads, stream


@settings(max_examples=200, deadline=None)
@given(streams(), st.lists(st.integers(0, 10_000), max_size=8))
def test_any_split_of_any_framing_gives_the_same_events(
    written: tuple[list[bytes], bytes], cuts: list[int]
) -> None:
    payloads, stream = written
    assert fed(EventParser(), stream, cuts) == payloads


@settings(max_examples=50, deadline=None)
@given(streams())
def test_byte_by_byte_is_as_good_as_at_once(written: tuple[list[bytes], bytes]) -> None:
    payloads, stream = written
    assert fed(EventParser(), stream, list(range(len(stream)))) == payloads


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([b"data", b":", b" ", b"x", b"\r", b"\n", b"\r\n", b"\xef\xbb\xbf"])),
    st.lists(st.integers(0, 1000), max_size=6),
)
def test_how_bytes_are_cut_never_matters(pieces: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(pieces)
    assert fed(EventParser(), stream, cuts) == EventParser().feed(stream)


@pytest.mark.parametrize(
    ("stream", "payloads"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\n\r\n", [b"a"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\n\n", [b""]),
        (b"data: a\n", []),
        (b"data: a", []),
        (b"\n\n\n", []),
        (b": hi\n\n", []),
        (b"data: a\n: hi\ndata: b\n\n", [b"a\nb"]),
        (b"event: x\ndata: a\nid: 1\n\n", [b"a"]),
        (b" data: a\n\n", []),
        (b"Data: a\n\n", []),
        (b"database: a\n\n", []),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data: \xef\xbb\xbfa\n\n", [b"\xef\xbb\xbfa"]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a"]),
        (b"data: a\x0bb\x0cc\x85d\xe2\x80\xa8e\n\n", [b"a\x0bb\x0cc\x85d\xe2\x80\xa8e"]),
    ],
)
def test_the_standard_is_followed(stream: bytes, payloads: list[bytes]) -> None:
    assert EventParser().feed(stream) == payloads


def test_a_line_feed_after_a_packet_that_ended_in_cr_belongs_to_it() -> None:
    parser = EventParser()
    assert parser.feed(b"data: a\r") == []
    assert parser.feed(b"\ndata: b\r\n") == []
    assert parser.feed(b"\r") == [b"a\nb"]
    assert parser.feed(b"\n") == []


def test_an_unfinished_event_has_a_bound() -> None:
    parser = EventParser(100)
    with pytest.raises(EventTooLarge):
        for _ in range(12):
            parser.feed(b"data: 1234567")


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_a_finished_event_has_the_same_bound(end: bytes) -> None:
    assert EventParser(100).feed(b"data: " + b"x" * 90 + end + b"data: y" + end) == [
        b"x" * 90,
        b"y",
    ]
    with pytest.raises(EventTooLarge) as caught:
        EventParser(100).feed(b"data: y" + end + b"data: " + b"x" * 101 + end + b"data: z" + end)
    assert caught.value.before == [b"y"]


@pytest.mark.parametrize("line", [b"data: 12345\n", b": 12345", b"x12345", b"data:\n", b"data\n"])
def test_no_kind_of_line_can_grow_without_bound(line: bytes) -> None:
    parser = EventParser(100)
    with pytest.raises(EventTooLarge):
        for _ in range(1000):
            parser.feed(line)


def test_a_long_stream_of_small_events_is_fine() -> None:
    parser = EventParser(100)
    assert sum(len(parser.feed(b"data: 12345\r\n\r\n: x\r\n")) for _ in range(1000)) == 1000


@pytest.mark.parametrize("payload", [b"{}", b'{"a":"\\n"}', DONE, "é".encode(), b" x"])
def test_what_we_write_reads_back(payload: bytes) -> None:
    assert EventParser().feed(event(payload)) == [payload]


def test_the_end_mark_is_an_event() -> None:
    assert event(DONE) == DONE_EVENT
