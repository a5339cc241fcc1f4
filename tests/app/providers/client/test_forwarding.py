"""Which of a caller's headers an upstream sees."""

from __future__ import annotations

import pytest

from app.config.values.header_names import TRACING, HeaderName
from app.core.errors import HeaderList
from app.providers.client.forwarding import forwarded_headers
from tests.harness.chain import call_of

NAMES = frozenset({b"traceparent", b"x-team", b"x-hop", b"x-end", b"accept-language"})


def forwarded(*headers: tuple[bytes, bytes], names: frozenset[bytes] = NAMES) -> HeaderList:
    return forwarded_headers(call_of(list(headers)), names)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_headers_that_are_named_go_upstream(name: bytes) -> None:
    assert forwarded((name, b"v")) == [(name, b"v")]


@pytest.mark.parametrize("name", [b"x-org", b"baggage", b"x-stainless-lang", b"authorization"])
def test_others_do_not(name: bytes) -> None:
    assert forwarded((name, b"v")) == []


def test_the_request_id_is_ours_even_if_the_caller_sent_another() -> None:
    sent = (b"x-request-id", b"insane id!")
    assert forwarded(sent, names=frozenset({b"x-request-id"})) == [(b"x-request-id", b"id-1")]
    assert forwarded(sent) == []


def test_what_the_connection_header_names_stays_here() -> None:
    headers = [
        (b"connection", b"keep-alive, X-Hop , traceparent"),
        (b"x-hop", b"1"),
        (b"traceparent", b"t"),
        (b"x-end", b"2"),
    ]
    assert forwarded(*headers) == [(b"x-end", b"2")]


def test_repeated_headers_all_go() -> None:
    assert forwarded((b"x-team", b"1"), (b"x-team", b"2")) == [(b"x-team", b"1"), (b"x-team", b"2")]


@pytest.mark.parametrize("name", [*TRACING, "baggage", "x-session-affinity", "Accept-Language"])
def test_tracing_and_custom_headers_may_be_named(name: str) -> None:
    assert HeaderName.parse(f" {name} ") == name.lower()


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "Proxy-Authorization",
        "x-api-key",
        "api-key",
        "cookie",
        "x-goog-api-key",
        "x-auth-request-user",
        "x-amz-security-token",
        "x-client-secret",
        "x-my-password",
        "host",
        "content-length",
        "content-type",
        "content-encoding",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "upgrade",
        "te",
        "trailer",
        "expect",
        "accept",
        "accept-encoding",
        "user-agent",
        "cache-control",
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-real-ip",
        "x-original-url",
        "X-Headgate-Cache-Ttl",
        "x-portkey-provider",
    ],
)
def test_credentials_hop_by_hop_and_our_own_headers_may_not(name: str) -> None:
    with pytest.raises(ValueError, match="never passed on"):
        HeaderName.parse(name)


@pytest.mark.parametrize("value", ["", "a b", "x:", "\u00e9", 5, None, "x" * 65])
def test_what_is_no_name_of_a_header_may_not(value: object) -> None:
    with pytest.raises(ValueError, match="names of headers"):
        HeaderName.parse(value)
