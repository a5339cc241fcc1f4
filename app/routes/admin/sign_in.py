"""Which operator sends this request?"""

from __future__ import annotations

from app.core.errors import GatewayError, Unauthenticated
from app.core.exchange import Exchange
from app.core.keys import presented_secret
from app.policy.admins import AdminKey, AdminKeys

MAX_SECRET_BYTES = 512


class SignIn:
    """Finds the admin key of a request. Callers' keys are not among them, and open nothing here."""

    def __init__(self, keys: AdminKeys) -> None:
        self._keys = keys

    def who(self, exchange: Exchange) -> AdminKey | GatewayError:
        """The key, or the refusal where there is none."""
        secret = presented_secret(exchange.headers)
        if not secret:
            return Unauthenticated(
                "No admin key was sent; send it as `Authorization: Bearer KEY`.",
                code="missing_api_key",
            )
        key = self._keys.find(secret) if len(secret) <= MAX_SECRET_BYTES else None
        if key is None:
            return Unauthenticated(
                "The key is none of those under `admin.keys` in the configuration.",
                code="invalid_api_key",
            )
        return key
