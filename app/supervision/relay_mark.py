"""What marks a request that came over the management listener, so that a worker can tell. Pure."""

from __future__ import annotations

import hmac
import secrets
from time import monotonic

RELAY_HEADER = b"x-headgate-relay"
TOKEN_BYTES = 32

# Paths of the management listener that a worker answers. A name ends in a slash where more follows it.
PREFIXES = ("/admin/", "/dashboard/", "/docs/")
PATHS = frozenset({"/admin", "/dashboard", "/docs", "/openapi.json", "/llms.txt"})


LINK_SECONDS = 900.0  # for which the sign-in link of a start is good


class RelayMark:
    """A random token of this start of the gateway, known to its main process and its workers only.

    ``link`` is another, for whoever started it at a terminal: it signs in to the dashboard once.
    """

    def __init__(self) -> None:
        self._token = secrets.token_hex(TOKEN_BYTES).encode()
        self.link = secrets.token_urlsafe(TOKEN_BYTES)
        self._link_until = monotonic() + LINK_SECONDS

    def is_link(self, given: str) -> bool:
        """Whether this is the link's, and in time."""
        right = hmac.compare_digest(given.encode(), self.link.encode())
        return right and monotonic() < self._link_until

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
