"""Money in whole nano-dollars: what tokens cost.

Never a float: a price per million tokens is kept as an integer, a cost is rounded up to the next
nano-dollar. Sums stay exact in a double (Lua's number) up to nine million dollars.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from app.core.units import NanoDollars
from app.core.usage import Usage

NANO = 10**9
MILLION = 10**6
MAX_DOLLARS = 9_000_000
UNBOUNDED = NanoDollars(
    MAX_DOLLARS * NANO + 1
)  # what nobody can say the cost of: more than any budget has


class Price(NamedTuple):
    """Nano-dollars per million tokens."""

    input: int
    output: int

    def cost(self, usage: Usage) -> NanoDollars:
        """What this use costs."""
        return self.of(usage.prompt_tokens, usage.completion_tokens)

    def of(self, prompt_tokens: int, completion_tokens: int) -> NanoDollars:
        total = prompt_tokens * self.input + completion_tokens * self.output
        return NanoDollars(-(-total // MILLION))


def nano_dollars(dollars: float | Decimal | str) -> NanoDollars:
    """Dollars as written by a person, exactly."""
    return NanoDollars(int((Decimal(str(dollars)) * NANO).to_integral_value()))


def dollars_text(amount: NanoDollars) -> str:
    """Nano-dollars as dollars, without trailing zeros: ``0.0000123``."""
    if not amount:
        return "0"
    sign, nano = ("-", -amount) if amount < 0 else ("", amount)
    whole, rest = divmod(nano, NANO)
    return f"{sign}{whole}.{rest:09d}".rstrip("0").rstrip(".")
