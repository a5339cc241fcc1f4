"""Which of a caller's headers an upstream sees."""

from __future__ import annotations

import pytest

from app.core.errors import HeaderList
from app.providers.forwarding import forwarded_headers
from tests.chain import call_of


def forwarded(*headers: tuple[bytes, bytes]) -> HeaderList:
    passed = forwarded_headers(call_of(list(headers)))
    assert passed.pop() == (b"x-request-id", b"id-1")
    return passed


@pytest.mark.parametrize(
    "name", [b"traceparent", b"tracestate", b"baggage", b"x-team", b"x-session-affinity", b"x-b3"]
)
def test_tracing_and_custom_headers_go_upstream(name: bytes) -> None:
    assert forwarded((name, b"v")) == [(name, b"v")]


@pytest.mark.parametrize(
    "name",
    [
        b"authorization",
        b"proxy-authorization",
        b"x-api-key",
        b"api-key",
        b"cookie",
        b"x-goog-api-key",
        b"x-auth-request-user",
        b"x-amz-security-token",
        b"x-client-secret",
        b"x-my-password",
        b"host",
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"transfer-encoding",
        b"connection",
        b"keep-alive",
        b"upgrade",
        b"te",
        b"trailer",
        b"expect",
        b"accept",
        b"accept-encoding",
        b"user-agent",
        b"cache-control",
        b"forwarded",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-real-ip",
        b"x-original-url",
        b"x-headgate-cache-ttl",
        b"x-portkey-provider",
    ],
)
def test_credentials_hop_by_hop_and_our_own_headers_do_not(name: bytes) -> None:
    assert forwarded((name, b"v")) == []


def test_the_request_id_is_ours_even_if_the_caller_sent_another() -> None:
    assert forwarded((b"x-request-id", b"insane id!")) == []


def test_what_the_connection_header_names_stays_here() -> None:
    headers = [
        (b"connection", b"keep-alive, X-Hop , traceparent"),
        (b"x-hop", b"1"),
        (b"traceparent", b"t"),
        (b"x-end", b"2"),
    ]
    assert forwarded(*headers) == [(b"x-end", b"2")]


def test_repeated_headers_all_go() -> None:
    assert forwarded((b"x-a", b"1"), (b"x-a", b"2")) == [(b"x-a", b"1"), (b"x-a", b"2")]
