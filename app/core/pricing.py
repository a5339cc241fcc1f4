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
    """Nano-dollars per million tokens.

    ``cached_input`` is for tokens that come from the provider's prompt cache, ``cache_write`` for
    those that go to it, ``reasoning`` for thoughts. None: as ``input``, and as ``output``.
    """

    input: int
    output: int
    cached_input: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None

    def cost(self, usage: Usage) -> NanoDollars:
        """What this use costs."""
        total = usage.prompt_tokens * self.input + usage.completion_tokens * self.output
        if usage.cached_tokens and self.cached_input is not None:
            total += usage.cached_tokens * (self.cached_input - self.input)
        if usage.cache_write_tokens and self.cache_write is not None:
            total += usage.cache_write_tokens * (self.cache_write - self.input)
        if usage.reasoning_tokens:
            total += usage.uncounted_tokens * self.output
            if self.reasoning is not None:
                total += usage.reasoning_tokens * (self.reasoning - self.output)
        return NanoDollars(-(-total // MILLION))

    def most(self, prompt_tokens: int, completion_tokens: int) -> NanoDollars:
        """What so many tokens cost at most, whichever kind each of them turns out to be."""
        given = max(self.input, self.cached_input or 0, self.cache_write or 0)
        made = max(self.output, self.reasoning or 0)
        return NanoDollars(-(-(prompt_tokens * given + completion_tokens * made) // MILLION))


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
