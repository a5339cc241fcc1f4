"""What the response reader takes, what it refuses, and that packets make no difference."""

from __future__ import annotations

import itertools

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.providers.http1.errors import ResponseTooLarge
from app.providers.http1.response import ResponseReader

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
EMPTY = b"Content-Length: 0\r\n\r\n"


def reader(
    method: str = "POST", *, max_header_bytes: int = 1000, max_body_bytes: int = 10_000
) -> ResponseReader:
    return ResponseReader(method, max_header_bytes, max_body_bytes)


def read_split(data: bytes, cuts: list[int], *, eof: bool) -> tuple[ResponseReader, bytes]:
    """Feed `data` cut at the given places."""
    read = reader()
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    pairs = itertools.pairwise(edges)
    body = b"".join(read.feed(data[start:end]) for start, end in pairs if end > start)
    if eof:
        read.feed_eof()
    return read, body


def one_byte_at_a_time(data: bytes) -> list[int]:
    return list(range(len(data)))


REFUSED = {
    "garbage": b"\x16\x03\x01\x00\x05hello, this is not http\r\n\r\n",
    "http09": b"<html>hello</html>",
    "http2": b"HTTP/2.0 200 OK\r\n" + EMPTY,
    "http12": b"HTTP/1.2 200 OK\r\n" + EMPTY,
    "another-protocol": b"RTSP/1.0 200 OK\r\n" + EMPTY,
    "leading-crlf": b"\r\n" + OK + EMPTY,
    "status-of-two-digits": b"HTTP/1.1 99 OK\r\n" + EMPTY,
    "status-of-four-digits": b"HTTP/1.1 2000 OK\r\n" + EMPTY,
    "status-zero": b"HTTP/1.1 000 OK\r\n" + EMPTY,
    "status-with-letters": b"HTTP/1.1 2x0 OK\r\n" + EMPTY,
    "two-spaces": b"HTTP/1.1  200 OK\r\n" + EMPTY,
    "switching-protocols": b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    "switching-without-upgrade": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "bare-lf-head": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "bare-lf-header": OK + b"X: a\nContent-Length: 0\r\n\r\n",
    "bare-cr-header": OK + b"X: a\rb\r\n" + EMPTY,
    "nul-header": OK + b"X: a\0b\r\n" + EMPTY,
    "control-header": OK + b"X: a\x01b\r\n" + EMPTY,
    "folded-header": OK + b"X: a\r\n b\r\n" + EMPTY,
    "folded-first": OK + b" X: a\r\n" + EMPTY,
    "space-before-colon": OK + b"Content-Length : 0\r\n\r\n",
    "space-in-name": OK + b"X y: b\r\n" + EMPTY,
    "no-name": OK + b": b\r\n" + EMPTY,
    "no-colon": OK + b"junk\r\n" + EMPTY,
    "non-ascii-name": OK + b"X\xc3\xa9: b\r\n" + EMPTY,
    "length-twice": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    "lengths-that-differ": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nab",
    "length-list": OK + b"Content-Length: 2, 2\r\n\r\nab",
    "length-plus": OK + b"Content-Length: +2\r\n\r\nab",
    "length-minus": OK + b"Content-Length: -2\r\n\r\nab",
    "length-hex": OK + b"Content-Length: 0x2\r\n\r\nab",
    "length-empty": OK + b"Content-Length:\r\n\r\nab",
    "length-enormous": OK + b"Content-Length: 99999999999999999999999\r\n\r\nab",
    "length-and-coding": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding-and-length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "coding-twice": OK + b"Transfer-Encoding: chunked\r\n" + CHUNKED[len(OK) :] + b"0\r\n\r\n",
    "coding-unknown": OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "coding-list": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding-not-last": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "coding-identity": OK + b"Transfer-Encoding: identity\r\n\r\nabc",
    "coding-in-http10": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "interim-with-length": b"HTTP/1.1 103 H\r\nContent-Length: 5\r\n\r\nhello" + OK + EMPTY,
    "interim-with-coding": b"HTTP/1.1 103 H\r\nTransfer-Encoding: chunked\r\n\r\n" + OK + EMPTY,
    "interim-for-ever": b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + OK + EMPTY,
    "header-too-long": OK + b"X: " + b"a" * 2000 + b"\r\n" + EMPTY,
    "headers-too-many": OK + b"X: a\r\n" * 500 + EMPTY,
    "body-beyond-length": OK + b"Content-Length: 2\r\n\r\nabc",
    "crlf-beyond-length": OK + b"Content-Length: 2\r\n\r\nab\r\n",
    "second-response": OK + EMPTY + OK + EMPTY,
    "body-beside-204": b"HTTP/1.1 204 No Content\r\n\r\nhello",
    "body-beside-304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello",
    "chunk-size-lf": CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    "chunk-data-lf": CHUNKED + b"5\r\nhello\n0\r\n\r\n",
    "chunk-data-longer": CHUNKED + b"5\r\nhello, world\r\n0\r\n\r\n",
    "chunk-data-shorter": CHUNKED + b"7\r\nhello\r\n0\r\n\r\n",
    "chunk-size-space": CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n",
    "chunk-size-leading-space": CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n",
    "chunk-size-0x": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "chunk-size-minus": CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    "chunk-size-plus": CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
    "chunk-size-empty": CHUNKED + b"\r\nhello\r\n0\r\n\r\n",
    "chunk-size-letters": CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n",
    "chunk-size-overflow": CHUNKED + b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "chunk-extension-lf": CHUNKED + b"5;a=b\nhello\r\n0\r\n\r\n",
    "chunk-extension-cr": CHUNKED + b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "chunk-extension-endless": CHUNKED + b"5;" + b"a" * 3000,
    "chunked-end-lf": CHUNKED + b"5\r\nhello\r\n0\r\n\n",
    "chunked-end-lf-first": CHUNKED + b"5\r\nhello\r\n0\n\r\n",
    "trailer-lf": CHUNKED + b"0\r\nA: b\n\r\n",
    "trailer-length": CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n",
    "trailer-folded": CHUNKED + b"0\r\nA: b\r\n c\r\n\r\n",
    "trailers-endless": CHUNKED + b"0\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
    "chunked-then-lf": CHUNKED + b"0\r\n\r\n\n",
    "chunked-then-crlf": CHUNKED + b"5\r\nhello\r\n0\r\n\r\n\r\n",
    "chunked-then-crlf-crlf": CHUNKED + b"0\r\n\r\n\r\n\r\n",
    "chunked-then-junk": CHUNKED + b"0\r\n\r\nX",
    "chunked-then-response": CHUNKED + b"0\r\n\r\n" + OK + EMPTY,
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_what_could_be_read_in_two_ways_is_refused(data: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        read_split(data, [], eof=True)


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused_byte_by_byte_too_or_ends_before_the_rest(data: bytes) -> None:
    read = reader()
    try:
        for index in range(len(data)):
            # Bytes after a whole message in a later packet reach an idle connection, which closes.
            if read.complete:
                return
            read.feed(data[index : index + 1])
        read.feed_eof()
    except httpx.RemoteProtocolError:
        return
    pytest.fail("accepted")


WHOLE = {
    "length": (OK + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    "length-padded": (OK + b"Content-Length:   5 \t\r\n\r\nhello", b"hello"),
    "no-reason": (b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    "empty": (OK + EMPTY, b""),
    "chunks": (CHUNKED + b"5\r\nhello\r\n3;a=b\r\n ab\r\n0\r\n\r\n", b"hello ab"),
    "chunks-like-framing": (CHUNKED + b"9\r\n\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n\r\n"),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\n", b"hello"),
    "interim": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 H\r\nLink: x\r\n\r\n" + OK + EMPTY,
        b"",
    ),
    "interim-chunks": (b"HTTP/1.1 102 P\r\n\r\n" + CHUNKED + b"2\r\nab\r\n0\r\n\r\n", b"ab"),
    "http10": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", b"ab"),
    "close-delimited": (OK + b"X: y\r\n\r\nuntil the end\r\n\r\n", b"until the end\r\n\r\n"),
    "no-content": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "not-modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
}


@pytest.mark.parametrize(("data", "body"), WHOLE.values(), ids=WHOLE.keys())
def test_a_well_formed_response_is_read_whole(data: bytes, body: bytes) -> None:
    read, got = read_split(data, [], eof=data.startswith(OK + b"X: y"))
    assert (got, read.complete) == (body, True)


@pytest.mark.parametrize("name", WHOLE)
@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(min_value=0, max_value=10_000), max_size=40))
def test_packets_make_no_difference(name: str, cuts: list[int]) -> None:
    data, body = WHOLE[name]
    whole, _ = read_split(data, [], eof=name == "close-delimited")
    read, got = read_split(data, cuts, eof=name == "close-delimited")
    assert (got, read.complete) == (body, True)
    assert (read.status, read.headers, read.keep_alive) == (
        whole.status,
        whole.headers,
        whole.keep_alive,
    )


@pytest.mark.parametrize("name", WHOLE)
def test_every_cut_of_a_bounded_response_raises(name: str) -> None:
    data, _ = WHOLE[name]
    for end in range(len(data)):
        read = reader()
        read.feed(data[:end]) if end else None
        if name == "close-delimited" and read.head_done:
            continue
        with pytest.raises(httpx.RemoteProtocolError):
            read.feed_eof()


def test_several_chunks_in_a_packet_come_as_one() -> None:
    read = reader()
    assert read.feed(CHUNKED + b"2\r\nab\r\n2\r\ncd\r\n1\r\n") == b"abcd"
    assert read.feed(b"e") == b"e"


def test_interim_headers_do_not_mix_with_the_final_ones() -> None:
    read, _ = read_split(*_cut(WHOLE["interim"][0]), eof=False)
    assert [name for name, _, _ in read.headers] == [b"Content-Length"]


def _cut(data: bytes) -> tuple[bytes, list[int]]:
    return data, one_byte_at_a_time(data)


def test_headers_keep_their_case_order_and_repeats() -> None:
    read, _ = read_split(OK + b"B: 1\r\na: 2 \r\nb:3\r\n" + EMPTY, [], eof=False)
    assert read.headers[:3] == [(b"B", b"b", b"1"), (b"a", b"a", b"2"), (b"b", b"b", b"3")]


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 5\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n", b"\r\n"],
)
def test_a_head_answer_has_no_body_whatever_it_says(head: bytes) -> None:
    read = reader("HEAD")
    read.feed(OK + head)
    assert read.complete
    assert read.keep_alive
    with pytest.raises(httpx.RemoteProtocolError):
        read.feed(b"hello")


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (OK + EMPTY, True),
        (OK + b"Connection: close\r\n" + EMPTY, False),
        (OK + b"Connection: x, Close\r\n" + EMPTY, False),
        (OK + b"Connection: keep-alive\r\nConnection: close\r\n" + EMPTY, False),
        (b"HTTP/1.0 200 OK\r\n" + EMPTY, False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n" + EMPTY, True),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", False),
        (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", False),
    ],
)
def test_who_may_be_asked_again(head: bytes, kept: bool) -> None:
    read, _ = read_split(head, [], eof=False)
    assert read.complete
    assert read.keep_alive is kept


def test_the_peers_keep_alive_time_is_read() -> None:
    read, _ = read_split(OK + b"Keep-Alive: max=3, timeout=5\r\n" + EMPTY, [], eof=False)
    assert read.keep_alive_seconds == 5


def test_a_declared_length_over_the_bound_is_refused_at_the_head() -> None:
    with pytest.raises(ResponseTooLarge):
        reader(max_body_bytes=4).feed(OK + b"Content-Length: 5\r\n\r\n")


@pytest.mark.parametrize("head", [CHUNKED + b"ffff\r\n", OK + b"\r\n"])
def test_a_growing_body_over_the_bound_is_refused(head: bytes) -> None:
    read = reader(max_body_bytes=4)
    assert read.feed(head + b"abcd") == b"abcd"
    with pytest.raises(ResponseTooLarge):
        read.feed(b"e")


def test_a_head_may_be_just_as_long_as_the_bound() -> None:
    head = OK + b"X: " + b"a" * 900 + b"\r\n" + EMPTY
    assert reader(max_header_bytes=len(head)).feed(head) == b""
    with pytest.raises(httpx.RemoteProtocolError):
        reader(max_header_bytes=len(head) - 1).feed(head)
