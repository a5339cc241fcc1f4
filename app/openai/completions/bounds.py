"""What a completions request uses: at most, for the budgets, and probably, for the limits."""

from __future__ import annotations

from app.core.request import Allowance, Cap, Dialect, TargetRules
from app.core.usage import Usage
from app.openai.completions.prompt_size import prompt_bound, prompt_estimate
from app.openai.completions.request import DEFAULT_MAX_TOKENS, FIELDS, CompletionRequest
from app.openai.forwarded_members import refuse_others
from app.openai.output_limits import Contract, one_limit, paid_by, says_more

CONTRACT = Contract(
    frozenset(FIELDS) | {"messages"},
    ("max_tokens",),
    paid_by("model", "prompt", "messages", "n", "best_of", "suffix"),
)


def bounded(
    request: CompletionRequest, rules: TargetRules, allowance: Allowance
) -> CompletionRequest:
    """The request as a target may be sent it and a key may ask it. Raises InvalidRequest."""
    refuse_others(request.document, CONTRACT.names, rules.members)
    request = request.counting(rules.part_tokens)
    return limited(request, allowance.cap, rules.dialect) if allowance.bound else request


def limited(request: CompletionRequest, cap: Cap | None, dialect: Dialect) -> CompletionRequest:
    """The request with exactly one limit on what is generated, at most the cap.

    Raises InvalidRequest naming every member that has no valid limit, exceeds the cap, or would
    generate more by another way.
    """
    document = request.document
    if document.keys() <= CONTRACT.names and cap is None and request.max_tokens:
        return request.limited_to(request.max_tokens)  # nothing else that a server could read
    return request.limited_to(*one_limit(document, CONTRACT, cap, dialect, DEFAULT_MAX_TOKENS))


def is_bounded(request: CompletionRequest, dialect: Dialect) -> bool:
    """Whether ``max_tokens`` is all that a server reads of how much to generate."""
    return request.limited or not says_more(request.document, CONTRACT, dialect)


def most(request: CompletionRequest) -> Usage:
    """The most tokens that a request can use, each prompt sent once."""
    return Usage(prompt_bound(request), output_bound(request), estimated=True)


def likely(request: CompletionRequest) -> Usage:
    """The prompts (exact for ids, estimated for text) and the output bound."""
    return Usage(prompt_estimate(request), output_bound(request), estimated=True)


def output_bound(request: CompletionRequest) -> int:
    """The most tokens that a request can generate: prompts x max(n, best_of) x max_tokens."""
    return max(1, len(request.prompts)) * max(request.n, request.best_of) * request.max_tokens
