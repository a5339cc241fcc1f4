"""Is this HTTP as the route speaks it?"""

from __future__ import annotations

from typing import Any

import pytest

from middleware.asgi.protocol import Protocol

HOST = (b"host", b"h")


def layer(app: Any) -> Protocol:
    return Protocol(app, method="POST")


def test_an_ordinary_request_passes(run: Any) -> None:
    headers = [HOST, (b"content-length", b"2"), (b"x-a", b"1"), (b"x-a", b"2")]
    assert run(headers).through(layer).inner == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "HEAD", "post"])
def test_another_method_is_told_the_right_one(run: Any, method: str) -> None:
    done = run([HOST], method=method).through(layer)
    assert (done.status, done.error["code"], done.inner) == (405, "method_not_allowed", 0)
    assert done.headers[b"allow"] == b"POST"
    assert f"answers POST only, not {method}; did you mean POST /?" in done.error["message"]


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("HEAD", 200), ("OPTIONS", 405)])
def test_a_route_may_answer_a_further_method(run: Any, method: str, status: int) -> None:
    done = run([HOST], method=method).through(
        lambda app: Protocol(app, method="GET", also=("HEAD",))
    )
    assert done.status == status
    assert done.headers.get(b"allow", b"GET, HEAD") == b"GET, HEAD"


@pytest.mark.parametrize(
    "headers",
    [
        [HOST, HOST],
        [HOST, (b"content-length", b"2"), (b"content-length", b"3")],
        [HOST, (b"content-length", b"2"), (b"content-length", b"2")],
        [HOST, (b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")],
        [HOST, (b"transfer-encoding", b"gzip, chunked")],
        [HOST, (b"transfer-encoding", b"identity")],
        [HOST, (b"transfer-encoding", b"xchunked")],
        [HOST, (b"transfer-encoding", b"chunked"), (b"content-length", b"2")],
        [HOST, (b"authorization", b"a"), (b"authorization", b"b")],
        [HOST, (b"content-type", b"a"), (b"content-type", b"b")],
        [HOST, (b"x-api-key", b"a"), (b"x-api-key", b"b")],
        [HOST, (b"x-api-key", b"a"), (b"x-api-key", b"a")],
        [HOST, (b"api-key", b"a"), (b"api-key", b"b")],
        [],
        [(b"host", b"")],
    ],
)
def test_what_two_parsers_could_read_in_two_ways_is_refused(run: Any, headers: Any) -> None:
    done = run(headers).through(layer)
    assert (done.status, done.inner) == (400, 0)


def test_http_1_0_needs_no_host(run: Any) -> None:
    assert run([], http_version="1.0").through(layer).inner == 1
