"""Money in whole nano-dollars: what tokens cost, and the bound on what a request can cost.

Never a float: a price per million tokens is kept as an integer, a cost is rounded up to the next
nano-dollar. Sums stay exact in a double (Lua's number) up to nine million dollars.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import orjson

from app.core.completions import CompletionRequest, Prompt
from app.core.usage import Usage, estimate_prompts, estimate_text

NANO = 10**9
MILLION = 10**6
MAX_DOLLARS = 9_000_000

# What servers add to a text of their own accord: a start token, a chat template's frame.
_TEXT_OVERHEAD = 4
_MESSAGE_OVERHEAD = 16


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


def token_bound(request: CompletionRequest) -> int:
    """Tokens to reserve: the prompts (exact for ids, estimated for text) and the output bound."""
    if request.messages is not None:
        texts = (str(message.get("content") or "") for message in request.messages)
        return sum(map(estimate_text, texts)) + output_bound(request)
    return estimate_prompts(request.prompts) + output_bound(request)


def output_bound(request: CompletionRequest) -> int:
    """The most tokens that a request can generate: prompts x max(n, best_of) x max_tokens."""
    return max(1, len(request.prompts)) * max(request.n, request.best_of) * request.most_tokens


def prompt_bound(request: CompletionRequest) -> int:
    """The most tokens that a request's prompts can be: exact for ids, a token per byte for text."""
    if request.messages is not None:
        # As JSON: names, calls and parts count too, and each takes at least a byte a token.
        return len(orjson.dumps(request.messages)) + _MESSAGE_OVERHEAD * len(request.messages)
    return sum(map(_prompt_bound, request.prompts))


def cost_bound(price: Price, request: CompletionRequest, times: int = 1) -> int:
    """The most that a request can cost, in nano-dollars; its prompts are sent ``times``."""
    return price.of(prompt_bound(request) * times, output_bound(request))


def _prompt_bound(prompt: Prompt) -> int:
    if isinstance(prompt, str):
        return len(prompt.encode()) + _TEXT_OVERHEAD
    return len(prompt)
