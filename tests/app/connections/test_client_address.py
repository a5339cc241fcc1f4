"""Whose request is this?"""

from __future__ import annotations

import pytest

from app.connections.client_address import TrustedProxies

PROXIES = TrustedProxies(["10.0.0.0/8", "::1"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", b"198.51.100.1", "192.0.2.1"),  # a stranger's word
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", b"198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", b"1.2.3.4, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", b"1.2.3.4, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", b"10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", b"198.51.100.1:4711", "198.51.100.1"),
        ("::1", b"[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:10.0.0.1", b"::ffff:198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", b"unknown", "10.0.0.1"),
        ("10.0.0.1", b"198.51.100.1, unknown", "10.0.0.1"),
        ("10.0.0.1", b"", "10.0.0.1"),
        ("10.0.0.1", b"\xff", "10.0.0.1"),
    ],
)
def test_a_proxy_of_ours_says_whose_request_it_is(
    peer: str, forwarded: bytes | None, client: str
) -> None:
    assert PROXIES.client(peer, forwarded) == client


def test_without_proxies_nobody_is_believed() -> None:
    nobody = TrustedProxies([])
    assert not nobody
    assert nobody.client("127.0.0.1", b"198.51.100.1") == "127.0.0.1"


def test_what_is_known_of_addresses_is_bounded() -> None:
    proxies = TrustedProxies(["10.0.0.0/8"])
    for number in range(10_000):
        proxies.trusts(f"10.0.{number // 256}.{number % 256}")
    assert len(proxies._known) <= 4096
