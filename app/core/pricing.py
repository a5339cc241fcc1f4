"""Money in whole nano-dollars: what tokens cost, and the bound on what a request can cost.

Never a float: a price per million tokens is kept as an integer, a cost is rounded up to the next
nano-dollar. Sums stay exact in a double (Lua's number) up to nine million dollars.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from app.core.completions import CompletionRequest
from app.core.prompt_size import prompt_bound, prompt_estimate
from app.core.usage import Usage

NANO = 10**9
MILLION = 10**6
MAX_DOLLARS = 9_000_000
UNBOUNDED = MAX_DOLLARS * NANO + 1  # what nobody can say the cost of: more than any budget has


class Price(NamedTuple):
    """Nano-dollars per million tokens."""

    input: int
    output: int

    def cost(self, usage: Usage) -> int:
        """What this use costs, in nano-dollars."""
        return self.of(usage.prompt_tokens, usage.completion_tokens)

    def of(self, prompt_tokens: int, completion_tokens: int) -> int:
        total = prompt_tokens * self.input + completion_tokens * self.output
        return -(-total // MILLION)


def nano_dollars(dollars: float | Decimal | str) -> int:
    """Dollars as written by a person, exactly."""
    return int((Decimal(str(dollars)) * NANO).to_integral_value())


def dollars_text(nano: int) -> str:
    """Nano-dollars as dollars, without trailing zeros: ``0.0000123``."""
    sign, nano = ("-", -nano) if nano < 0 else ("", nano)
    whole, rest = divmod(nano, NANO)
    return f"{sign}{whole}.{rest:09d}".rstrip("0").rstrip(".")


def token_bound(request: CompletionRequest, calls: int = 1) -> int:
    """Tokens to reserve: the prompts (exact for ids, estimated for text) and the output bound.

    Where a prompt is sent once for each choice, it counts as often.
    """
    times = max(1, calls // max(1, len(request.prompts)))
    return prompt_estimate(request) * times + output_bound(request)


def output_bound(request: CompletionRequest) -> int:
    """The most tokens that a request can generate: prompts x max(n, best_of) x max_tokens."""
    return max(1, len(request.prompts)) * max(request.n, request.best_of) * request.max_tokens


def cost_bound(price: Price, request: CompletionRequest, times: int = 1, added: int = 0) -> int:
    """The most that a request can cost, in nano-dollars.

    Its prompts are sent ``times``; ``added`` are prompt tokens that the server adds by itself.
    """
    return price.of(prompt_bound(request) * times + added, output_bound(request))
