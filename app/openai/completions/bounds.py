"""The most that a completions request can use: tokens for the limits, money for the budgets."""

from __future__ import annotations

from app.core.pricing import Price
from app.openai.completions.prompt_size import prompt_bound, prompt_estimate
from app.openai.completions.request import CompletionRequest


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
