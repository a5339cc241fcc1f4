"""What a completions request uses: at most, for the budgets, and probably, for the limits."""

from __future__ import annotations

from app.core.request import Allowance, Dialect, TargetRules
from app.core.usage import Usage
from app.openai.completions.output_limits import CONTRACT, limited, says_more
from app.openai.completions.prompt_size import prompt_bound, prompt_estimate
from app.openai.completions.request import CompletionRequest
from app.openai.forwarded_members import refuse_others


def bounded(
    request: CompletionRequest, rules: TargetRules, allowance: Allowance
) -> CompletionRequest:
    """The request as a target may be sent it and a key may ask it. Raises InvalidRequest."""
    refuse_others(request.document, CONTRACT, rules.members)
    request = request.counting(rules.part_tokens)
    return limited(request, allowance.cap, rules.dialect) if allowance.bound else request


def is_bounded(request: CompletionRequest, dialect: Dialect) -> bool:
    """Whether ``max_tokens`` is all that a server reads of how much to generate."""
    return request.limited or not says_more(request, dialect)


def most(request: CompletionRequest) -> Usage:
    """The most tokens that a request can use, each prompt sent once."""
    return Usage(prompt_bound(request), output_bound(request), estimated=True)


def likely(request: CompletionRequest) -> Usage:
    """The prompts (exact for ids, estimated for text) and the output bound."""
    return Usage(prompt_estimate(request), output_bound(request), estimated=True)


def output_bound(request: CompletionRequest) -> int:
    """The most tokens that a request can generate: prompts x max(n, best_of) x max_tokens."""
    return max(1, len(request.prompts)) * max(request.n, request.best_of) * request.max_tokens
