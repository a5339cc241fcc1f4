"""What marks a request that came over the management listener, so that a worker can tell. Pure."""

from __future__ import annotations

import hmac
import secrets

RELAY_HEADER = b"x-headgate-relay"
TOKEN_BYTES = 32

# Paths of the management listener that a worker answers. A name ends in a slash where more follows it.
PREFIXES = ("/admin/", "/dashboard/", "/docs/")
PATHS = frozenset({"/admin", "/dashboard", "/docs", "/openapi.json", "/llms.txt"})


class RelayMark:
    """A random token of this start of the gateway, known to its main process and its workers only."""

    def __init__(self) -> None:
        self._token = secrets.token_hex(TOKEN_BYTES).encode()

    def header(self, address: str) -> bytes:
        """The header's value for a request of the peer at this address."""
        return self._token + b" " + address.encode()

    def address_in(self, value: bytes | None) -> str | None:
        """The peer's address; None where the request did not come over the management listener."""
        token, _, address = (value or b"").partition(b" ")
        if not hmac.compare_digest(token, self._token):
            return None
        return address.decode("ascii", "replace")


def is_relayed(path: str) -> bool:
    """Whether a worker answers this path of the management listener."""
    return path in PATHS or path.startswith(PREFIXES)
