"""Bodies that are too large or too slow, on a gateway with little patience."""

import json
import time
from typing import Any

import pytest

from tests.e2e.wire.test_raw_http import GOOD, said
from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway
from tests.harness.raw_connection import RawAnswer, raw_request
from tests.harness.upstream import Upstream

# Sizes and slowness, on a gateway with little patience.


def test_a_body_at_the_cap_is_read(strict_gateway: Gateway, upstream: Upstream) -> None:
    body = json.dumps({"model": "native", "prompt": "x"}).encode()
    assert said(strict_gateway, raw_request(body.ljust(2048))).status == 200


def is_too_large(answer: RawAnswer | None) -> bool:
    assert answer is not None
    return (answer.status, answer.error["type"], answer.error["code"]) == (
        413,
        "invalid_request_error",
        "request_too_large",
    )


def test_a_body_over_the_cap_is_a_413(strict_gateway: Gateway, upstream: Upstream) -> None:
    assert is_too_large(said(strict_gateway, raw_request(GOOD.ljust(2049))))
    assert upstream.requests == []


def test_a_huge_body_is_refused_before_it_is_sent(
    strict_gateway: Gateway, upstream: Upstream
) -> None:
    with strict_gateway.raw() as caller:
        caller.send(raw_request(headers=["content-length: 1000000000"], length=False))
        assert is_too_large(caller.answer())


def test_a_chunked_body_over_the_cap_is_refused_before_it_ends(
    strict_gateway: Gateway, upstream: Upstream
) -> None:
    with strict_gateway.raw() as caller:
        caller.send(raw_request(headers=["transfer-encoding: chunked"], length=False))
        caller.send_all_it_takes(b"%x\r\n%b\r\n" % (4096, b" " * 4096))
        assert is_too_large(caller.answer())


def test_the_default_cap_is_a_mebibyte(gateway: Gateway, upstream: Upstream) -> None:
    body = GOOD.ljust(1 << 20)
    assert said(gateway, raw_request(body)).status == 200
    assert is_too_large(said(gateway, raw_request(body + b" ")))


def test_a_stranger_is_refused_before_its_body(gateway: Gateway, upstream: Upstream) -> None:
    with gateway.raw() as caller:
        head = raw_request(headers=["content-length: 1000000"], length=False)
        caller.send(head.replace(KEY.encode(), b"hg-nobody"))
        answer = caller.answer()
    assert answer is not None
    assert answer.status == 401


@pytest.mark.parametrize("sent", [b"", GOOD[:5]])
def test_a_slow_body_is_given_up(strict_gateway: Gateway, upstream: Upstream, sent: bytes) -> None:
    began = time.monotonic()
    with strict_gateway.raw() as caller:
        caller.send(raw_request(GOOD).removesuffix(GOOD) + sent)
        answer = caller.answer()
    assert answer is not None
    assert answer.status == 408
    assert answer.error["type"] == "invalid_request_error"
    assert "x-should-retry" not in answer.headers
    assert 0.2 < time.monotonic() - began < 3
    assert upstream.requests == []


def test_a_trickling_body_is_given_up(strict_gateway: Gateway, upstream: Upstream) -> None:
    answer: Any = None
    with strict_gateway.raw() as caller:
        caller.send(raw_request(GOOD).removesuffix(GOOD))
        for byte in GOOD:
            caller.send_all_it_takes(bytes([byte]))
            try:
                answer = caller.answer_within(0.05)
            except TimeoutError:
                continue
            break
    assert answer is not None
    assert answer.status == 408
