"""How a request is written, and what is never written."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from app.providers.http1.request import RequestHead, encode_request

URL = "http://host.example:8000/v1/completions?a=b"


class Pieces(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"ab"


def head_of(request: httpx.Request) -> bytes:
    return encode_request(request).head


def test_a_bare_request_gets_its_host_and_length() -> None:
    request = httpx.Request("POST", URL, stream=httpx.ByteStream(b"abc"), headers={"X-A": "b"})
    assert head_of(request) == (
        b"POST /v1/completions?a=b HTTP/1.1\r\n"
        b"Host: host.example:8000\r\nX-A: b\r\nContent-Length: 3\r\n\r\n"
    )


def test_what_the_caller_set_is_kept() -> None:
    request = httpx.Request("POST", URL, content=b"abc", headers={"Host": "other"})
    head = head_of(request)
    assert head.count(b"Host: other\r\n") == head.lower().count(b"host: ") == 1
    assert head.count(b"Content-Length: 3\r\n") == head.lower().count(b"content-length") == 1


@pytest.mark.parametrize(("method", "length"), [("GET", 0), ("HEAD", 0), ("POST", 1), ("PUT", 1)])
def test_an_empty_body_has_a_length_where_one_is_expected(method: str, length: int) -> None:
    request = httpx.Request(method, URL, stream=httpx.ByteStream(b""))
    assert head_of(request).count(b"Content-Length: 0\r\n") == length


def test_a_stream_goes_out_chunked_unless_its_length_is_known() -> None:
    unknown = encode_request(httpx.Request("POST", URL, stream=Pieces()))
    assert b"Transfer-Encoding: chunked\r\n" in unknown.head
    known = encode_request(
        httpx.Request("POST", URL, stream=Pieces(), headers={"Content-Length": "2"})
    )
    assert (known.stream_length, b"chunked" in known.head) == (2, False)


@pytest.mark.parametrize(
    "headers",
    [
        [(b"X", b"a\r\nEvil: b")],
        [(b"X", b"a\nEvil: b")],
        [(b"X", b"a\rb")],
        [(b"X", b"a\0b")],
        [(b"X\r\nEvil", b"a")],
        [(b"X y", b"a")],
        [(b"X:", b"a")],
        [(b"", b"a")],
        [(b"X\xc3\xa9", b"a")],
        [(b"Content-Length", b"4")],
        [(b"Content-Length", b"-3")],
        [(b"Content-Length", b"3"), (b"Content-Length", b"3")],
        [(b"Host", b"a"), (b"host", b"b")],
        [(b"Transfer-Encoding", b"chunked")],
    ],
)
def test_a_head_that_would_be_read_otherwise_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    request = httpx.Request("POST", URL, headers=headers, stream=httpx.ByteStream(b"abc"))
    with pytest.raises(httpx.LocalProtocolError):
        encode_request(request)


@pytest.mark.parametrize("method", ["GET /x HTTP/1.1\r\n", "G T", "", "CONNECT", "GÉT"])
def test_a_method_that_is_no_token_or_a_tunnel_is_refused(method: str) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        encode_request(httpx.Request(method, URL))


def test_a_synchronous_stream_is_refused() -> None:
    with pytest.raises(httpx.LocalProtocolError):
        encode_request(httpx.Request("POST", URL, content=iter([b"a"])))


def test_httpx_still_keeps_headers_as_we_read_them() -> None:
    headers = httpx.Headers([(b"X-Ab", b"1"), (b"x-ab", b"2")])
    assert headers._list == [(b"X-Ab", b"x-ab", b"1"), (b"x-ab", b"x-ab", b"2")]


# The beginning that is made once.


def made_head(headers: dict[str, str]) -> RequestHead:
    return RequestHead("POST", httpx.URL(URL), httpx.Headers(headers))


def test_a_kept_head_says_what_a_request_of_its_own_would() -> None:
    outgoing = made_head({"X-A": "b"}).with_body([(b"x-c", b"d")], b"abc")
    whole = encode_request(
        httpx.Request(
            "POST", URL, headers={"X-A": "b", "x-c": "d"}, stream=httpx.ByteStream(b"abc")
        )
    )
    assert lines_of(outgoing.head) == lines_of(whole.head)
    assert outgoing.body == whole.body == b"abc"
    assert outgoing.keep_alive


def test_every_request_of_a_kept_head_has_its_own_length() -> None:
    head = made_head({})
    heads = [head.with_body([], body).head for body in (b"", b"abc", b"x" * 1000)]
    assert [lines_of(one)[-3] for one in heads] == [
        b"content-length: 0",
        b"content-length: 3",
        b"content-length: 1000",
    ]


@pytest.mark.parametrize(
    "field",
    [(b"x", b"a\r\nEvil: b"), (b"x", b"a\rb"), (b"x", b"a\nb"), (b"x", b"\0"), (b"x y", b"")],
)
def test_a_kept_head_takes_no_field_that_would_be_read_otherwise(
    field: tuple[bytes, bytes],
) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        made_head({}).with_body([field], b"{}")


@pytest.mark.parametrize("name", ["content-length", "transfer-encoding", "connection"])
def test_a_kept_head_frames_nothing(name: str) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        made_head({name: "1"})


def lines_of(head: bytes) -> list[bytes]:
    return head.lower().split(b"\r\n")
