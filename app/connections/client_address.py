"""Whose request is this? The peer's address, or the one that a trusted proxy vouches for."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

MAX_KNOWN = 4096


class TrustedProxies:
    """The networks whose ``x-forwarded-for`` is believed. Raises ValueError for what is no network."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ip_network(network) for network in networks]
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, host: str) -> bool:
        """Whether this peer is a proxy of ours."""
        if not self._networks:
            return False
        found = self._known.get(host)
        if found is None:
            address = _address(host)
            found = address is not None and any(address in one for one in self._networks)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[host] = found
        return found

    def client(self, peer: str, forwarded: bytes | None) -> str:
        """The caller's address: the last in ``forwarded`` that is no proxy of ours.

        A caller may write what it likes before what our proxies append, so it is read from its end.
        """
        if forwarded is None or not self.trusts(peer):
            return peer
        client = peer
        for text in reversed(forwarded.decode("latin-1").split(",")):
            address = _address(text.strip())
            if address is None:
                break
            client = str(address)
            if not self.trusts(client):
                break
        return client


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address as proxies write it; one of IPv4 in IPv6 is the one of IPv4."""
    if text.startswith("[") and "]" in text:
        text = text[1 : text.index("]")]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
