"""Ugly callers, on bare sockets: smuggling shapes, strange JSON, slow and huge bodies."""

import json

import pytest

from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway
from tests.harness.good_server import text_of
from tests.harness.prompts import PROMPT
from tests.harness.raw_connection import RawAnswer, raw_request
from tests.harness.upstream import Upstream

GOOD = json.dumps({"model": "native", "prompt": PROMPT}).encode()
SMUGGLED = raw_request(json.dumps({"model": "native", "prompt": "smuggled"}).encode())


def said(gateway: Gateway, data: bytes) -> RawAnswer:
    with gateway.raw() as caller:
        caller.send_all_it_takes(data)
        answer = caller.answer()
    assert answer is not None, "the connection was closed without an answer"
    return answer


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def test_the_request_that_the_others_spoil_is_good(gateway: Gateway) -> None:
    assert said(gateway, raw_request(GOOD)).status == 200


# Framing.


@pytest.mark.parametrize("parts", [[GOOD], [GOOD[:5], GOOD[5:]], [bytes([byte]) for byte in GOOD]])
def test_a_chunked_body_is_read(gateway: Gateway, upstream: Upstream, parts: list[bytes]) -> None:
    data = raw_request(headers=["transfer-encoding: chunked"], length=False) + chunked(*parts)
    assert said(gateway, data).status == 200
    assert upstream.request.document["prompt"] == PROMPT


def test_chunk_extensions_and_trailers_are_passed_over(
    gateway: Gateway, upstream: Upstream
) -> None:
    body = b"%x;name=value\r\n%b\r\n0\r\nx-trailer: 1\r\n\r\n" % (len(GOOD), GOOD)
    data = raw_request(headers=["transfer-encoding: chunked"], length=False) + body
    assert said(gateway, data).status == 200
    assert "x-trailer" not in upstream.request.headers


def test_a_body_byte_by_byte_is_read(gateway: Gateway) -> None:
    with gateway.raw() as caller:
        for byte in raw_request(GOOD):
            caller.send(bytes([byte]))
        answer = caller.answer()
    assert answer is not None
    assert answer.status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n" + GOOD,
        b"-5\r\n" + GOOD,
        b"%x\r\n%bXX" % (len(GOOD), GOOD),
        b"%x\n%b\n0\n\n" % (len(GOOD), GOOD),
        b"ffffffffffffffffff\r\n" + GOOD,
        b"%x;a\nb\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD),
        b"%x;\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD),
        b"\r\n0\r\n\r\n",
    ],
)
def test_bad_chunks_never_reach_the_upstream(
    gateway: Gateway, upstream: Upstream, body: bytes
) -> None:
    with gateway.raw() as caller:
        data = raw_request(headers=["transfer-encoding: chunked"], length=False)
        caller.send_all_it_takes(data + body + SMUGGLED)
        answer = caller.answer()
        assert answer is None or 400 <= answer.status < 500
        assert caller.read_to_end().count(b"HTTP/1.1 200") == 0
    assert upstream.requests == []


SHAPES = {
    "two lengths": ["content-length: 5", f"content-length: {len(GOOD)}"],
    "a list of lengths": [f"content-length: {len(GOOD)}, {len(GOOD)}"],
    "a signed length": [f"content-length: +{len(GOOD)}"],
    "a negative length": ["content-length: -1"],
    "a hexadecimal length": [f"content-length: {len(GOOD):#x}"],
    "a length that is none": ["content-length: five"],
    "a length beyond all": ["content-length: 99999999999999999999999"],
    "two transfer codings": ["transfer-encoding: gzip, chunked"],
    "chunked not last": ["transfer-encoding: chunked, gzip"],
    "an unknown coding": ["transfer-encoding: cow"],
    "identity": ["transfer-encoding: identity", f"content-length: {len(GOOD)}"],
    "chunked twice": ["transfer-encoding: chunked", "transfer-encoding: chunked"],
    "chunked and chunked": ["transfer-encoding: chunked, chunked"],
    "xchunked": ["transfer-encoding: xchunked"],
    "a space before the colon": ["transfer-encoding : chunked"],
    "a folded coding": ["transfer-encoding:\r\n chunked"],
    "a space before the name": [" content-length: 5"],
    "a name with NUL": ["content\x00-length: 5"],
    "a value with NUL": ["x-odd: a\x00b"],
    "a bare CR": ["x-odd: a\rcontent-length: 5"],
    "a name that is none": ["content length: 5"],
    "no name": [": 5"],
    "no colon": ["content-length"],
}


@pytest.mark.parametrize("headers", SHAPES.values(), ids=SHAPES.keys())
def test_framing_that_could_be_read_in_two_ways_is_refused(
    gateway: Gateway, upstream: Upstream, headers: list[str]
) -> None:
    with gateway.raw() as caller:
        caller.send_all_it_takes(raw_request(GOOD, headers=headers, length=False) + SMUGGLED)
        answer = caller.answer()
        assert answer is None or 400 <= answer.status < 500
        assert caller.answer() is None
    assert upstream.requests == []


@pytest.mark.parametrize(
    "header", ["host: other", "authorization: Bearer other", "content-type: text/plain"]
)
def test_a_header_that_must_be_single_is_refused_twice(
    gateway: Gateway, upstream: Upstream, header: str
) -> None:
    answer = said(gateway, raw_request(GOOD, headers=[header]))
    assert answer.status == 400
    assert upstream.requests == []


def test_two_equal_lengths_are_one_or_refused(gateway: Gateway, upstream: Upstream) -> None:
    """RFC 9110, section 8.6, allows both."""
    with gateway.raw() as caller:
        headers = [f"content-length: {len(GOOD)}"]
        caller.send_all_it_takes(raw_request(GOOD, headers=headers))
        answer = caller.answer()
    assert answer is None or answer.status in {200, 400}
    assert all(request.document["prompt"] == PROMPT for request in upstream.requests)


def test_a_length_beside_chunks_smuggles_nothing(gateway: Gateway, upstream: Upstream) -> None:
    """The chunks win, and nothing more is read from that connection."""
    inner = chunked(GOOD)
    head = raw_request(
        headers=["transfer-encoding: chunked", f"content-length: {len(inner) + len(SMUGGLED)}"],
        length=False,
    )
    with gateway.raw() as caller:
        caller.send_all_it_takes(head + inner + SMUGGLED)
        data = caller.read_to_end()
    assert data.count(b"HTTP/1.1 ") == 1
    assert all(b"smuggled" not in request.body for request in upstream.requests)


def test_a_short_length_beside_chunks_smuggles_nothing(
    gateway: Gateway, upstream: Upstream
) -> None:
    head = raw_request(headers=["content-length: 4", "transfer-encoding: chunked"], length=False)
    with gateway.raw() as caller:
        caller.send_all_it_takes(head + b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n")
        data = caller.read_to_end()
    assert data.count(b"HTTP/1.1 ") == 1
    assert upstream.requests == []


# Heads.


def test_http_1_1_without_a_host_is_a_400(gateway: Gateway, upstream: Upstream) -> None:
    answer = said(gateway, raw_request(GOOD).replace(b"host: gateway\r\n", b""))
    assert answer.status == 400
    assert upstream.requests == []


def test_http_1_0_without_a_host_is_served_and_closed(gateway: Gateway) -> None:
    data = raw_request(GOOD).replace(b"host: gateway\r\n", b"").replace(b"HTTP/1.1", b"HTTP/1.0")
    with gateway.raw() as caller:
        caller.send(data)
        answer = caller.answer()
        assert caller.ended
    assert answer is not None
    assert answer.status == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "FOO", "post"])
def test_another_method_is_a_405_that_names_the_right_one(
    gateway: Gateway, upstream: Upstream, method: str
) -> None:
    answer = said(gateway, raw_request(GOOD, method=method))
    assert answer.status == 405
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["code"] == "method_not_allowed"
    assert answer.headers["allow"] == "POST"
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/completions", 405), ("/nowhere", 404), ("/health/live", None)]
)
def test_head_is_answered_without_a_body(gateway: Gateway, path: str, status: int | None) -> None:
    with gateway.raw() as caller:
        caller.send(raw_request(method="HEAD", path=path))
        answer = caller.answer(head_only=True)
        assert answer is not None
        assert status is None or answer.status == status
        assert answer.headers["x-request-id"]
        caller.send(raw_request(method="GET", path="/health/live"))
        following = caller.answer()
    assert following is not None
    assert following.status == 200


@pytest.mark.parametrize(
    "line",
    [
        b"POST /v1/completions HTTP/2.0",
        b"POST /v1/completions HTTP/1.9x",
        b"POST  /v1/completions HTTP/1.1",
        b"POST /v1/completions",
        b"/v1/completions HTTP/1.1",
        b"P\x00ST /v1/completions HTTP/1.1",
        b"POST /v1/comp letions HTTP/1.1",
        b"\x16\x03\x01\x02\x00",
        b"PRI * HTTP/2.0",
    ],
)
def test_a_bad_request_line_is_refused(gateway: Gateway, upstream: Upstream, line: bytes) -> None:
    data = raw_request(GOOD).replace(b"POST /v1/completions HTTP/1.1", line)
    with gateway.raw() as caller:
        caller.send_all_it_takes(data)
        answer = caller.answer()
    assert answer is None or 400 <= answer.status < 506
    assert upstream.requests == []


def test_a_huge_head_is_refused(gateway: Gateway, upstream: Upstream) -> None:
    with gateway.raw() as caller:
        caller.send_all_it_takes(raw_request(GOOD, headers=["x-filler: " + "x" * 1_000_000]))
        answer = caller.answer()
    assert answer is None or answer.status in {400, 413, 431}
    assert upstream.requests == []


def test_many_headers_are_refused_or_served_but_do_no_harm(gateway: Gateway) -> None:
    with gateway.raw() as caller:
        caller.send_all_it_takes(raw_request(GOOD, headers=[f"x-{i}: 1" for i in range(2000)]))
        answer = caller.answer()
    assert answer is None or answer.status in {200, 400, 431}
    assert gateway.complete().status == 200


@pytest.mark.parametrize("path", ["/v1/completions#x", "v1/completions", "*"])
def test_odd_targets_are_served_or_refused_cleanly(gateway: Gateway, path: str) -> None:
    with gateway.raw() as caller:
        caller.send_all_it_takes(raw_request(GOOD, path=path))
        answer = caller.answer()
    assert answer is None or answer.status in {200, 400, 404, 405}


def test_expect_100_continue_is_honoured(gateway: Gateway) -> None:
    with gateway.raw() as caller:
        whole = raw_request(GOOD, headers=["expect: 100-continue"])
        caller.send(whole.removesuffix(GOOD))
        interim = caller.answer(head_only=True)
        assert interim is not None
        assert interim.status == 100
        caller.send(GOOD)
        answer = caller.answer()
    assert answer is not None
    assert answer.status == 200


# Pipelines and persistence.


def test_pipelined_requests_are_answered_in_order(gateway: Gateway, upstream: Upstream) -> None:
    bodies = [json.dumps({"model": "native", "prompt": f"p{i}"}).encode() for i in range(5)]
    with gateway.raw() as caller:
        caller.send(b"".join(map(raw_request, bodies)))
        answers = [caller.answer() for _ in bodies]
    texts = [json.loads(a.body)["choices"][0]["text"] for a in answers if a is not None]
    assert texts == [text_of(f"p{i}") for i in range(5)]


def test_pipelined_streams_are_answered_in_order(gateway: Gateway, upstream: Upstream) -> None:
    bodies = [
        json.dumps({"model": "native", "prompt": f"p{i}", "stream": i % 2 == 0}).encode()
        for i in range(4)
    ]
    with gateway.raw() as caller:
        caller.send(b"".join(map(raw_request, bodies)))
        answers = [caller.answer() for _ in bodies]
    assert [f"p{i}".encode() in a.body for i, a in enumerate(answers) if a] == [True] * 4


def test_a_refused_request_does_not_spoil_the_next_on_its_connection(
    gateway: Gateway, upstream: Upstream
) -> None:
    with gateway.raw() as caller:
        caller.send(raw_request(b'{"model":"native"}'))
        refused = caller.answer()
        caller.send(raw_request(GOOD))
        served = caller.answer()
    assert refused is not None
    assert served is not None
    assert (refused.status, served.status) == (400, 200)


@pytest.mark.parametrize("status", [401, 404, 405, 415])
def test_a_body_refused_unread_is_not_taken_for_a_request(
    gateway: Gateway, upstream: Upstream, status: int
) -> None:
    """What was not read must not become the next request on the connection."""
    spoilt = {
        401: raw_request(SMUGGLED).replace(KEY.encode(), b"x" * len(KEY), 1),
        404: raw_request(SMUGGLED, path="/nowhere"),
        405: raw_request(SMUGGLED, method="PUT"),
        415: raw_request(SMUGGLED, headers=["content-encoding: gzip"]),
    }[status]
    with gateway.raw() as caller:
        caller.send_all_it_takes(spoilt + raw_request(method="GET", path="/health/live"))
        answer = caller.answer()
        assert answer is not None
        assert answer.status == status
        following = caller.answer()
    assert following is None or following.status == 200
    assert upstream.requests == []
