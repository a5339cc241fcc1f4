"""Settling what a call cost, together with the count of what it used."""

from __future__ import annotations

from app.core.call import Call
from app.core.units import FREE
from cache.quotas.ledger import Ledger, Reservation
from cache.quotas.usage import settlement


def charge(ledger: Ledger, hold: Reservation, call: Call) -> None:
    """Settle a hold to what a call cost, and count its use in the same step."""
    outcome, key = call.outcome, call.key
    cost = outcome.cost or FREE
    prompt, completion, _ = outcome.usage or (0, 0, False)
    alias = outcome.alias_for(key) or ""
    used = settlement(ledger.clock.now(), key.id, alias, cost, prompt, completion)
    ledger.settle(hold, cost, used)
    outcome.charged = cost
