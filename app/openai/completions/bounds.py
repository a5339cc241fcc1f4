"""What a completions request uses: at most, for the budgets, and probably, for the limits.

Text counts by its length. A part that is not text (an image, a sound, a file) counts as a number of
tokens that the operator can set, by kind and detail, and never by its bytes: servers charge a
picture by its size in pixels, of which its bytes say nothing.
"""

from __future__ import annotations

from app.core.request import Allowance, Cap, Dialect, TargetRules
from app.core.usage import Usage, estimate_bytes
from app.openai.completions.request import DEFAULT_MAX_TOKENS, FIELDS, CompletionRequest, Prompt
from app.openai.forwarded_members import refuse_others
from app.openai.message_size import MESSAGE_OVERHEAD, size_of, text_bytes
from app.openai.output_limits import Contract, one_limit, paid_by, says_more

CONTRACT = Contract(
    frozenset(FIELDS) | {"messages"},
    ("max_tokens",),
    paid_by("model", "prompt", "messages", "n", "best_of", "suffix"),
)

# What servers add of their own accord: a start token; a role and the marks of a message or part;
# the system prompt that a chat template brings along (gpt-oss adds 70 tokens, Llama 3.1 40).
_TEXT_OVERHEAD = 4
TEMPLATE_OVERHEAD = 128

# Members that no server puts into a prompt, or that are counted by themselves.
_NOT_IN_PROMPT = frozenset(FIELDS) - {"suffix"} | {"messages", "metadata"}
# Members that servers are known to put into the prompt.
_IN_PROMPT = frozenset({"suffix", "tools", "functions", "response_format", "documents"})


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


def prompt_bound(request: CompletionRequest) -> int:
    """The most tokens that a request's prompts can be: exact for ids, a token per byte for text.

    Every further member that is a text, a list or an object counts by its bytes with each prompt,
    because servers put tools, schemas and documents into it.
    """
    extra = sum(
        request.size_of(name)
        for name in request.document.keys() - _NOT_IN_PROMPT
        if type(request.document[name]) in (str, list, dict)
    )
    if request.messages is not None:
        size = size_of(request.messages, request.part_tokens)
        return size.text + size.parts + MESSAGE_OVERHEAD * (size.messages + 1) + extra
    return sum(map(_prompt_bound, request.prompts)) + extra * len(request.prompts)


def prompt_estimate(request: CompletionRequest) -> int:
    """The tokens that a request's prompts probably are: exact for ids, by rule of thumb for text."""
    present = _IN_PROMPT & request.document.keys()
    extra = sum(map(request.size_of, present)) if present else 0
    if request.messages is not None:
        size = size_of(request.messages, request.part_tokens)
        return estimate_bytes(size.text + extra) + size.parts
    prompts = request.prompts
    return sum(map(_prompt_estimate, prompts)) + estimate_bytes(extra) * len(prompts)


def _prompt_bound(prompt: Prompt) -> int:
    return text_bytes(prompt) + _TEXT_OVERHEAD if isinstance(prompt, str) else len(prompt)


def _prompt_estimate(prompt: Prompt) -> int:
    return estimate_bytes(text_bytes(prompt)) if isinstance(prompt, str) else len(prompt)
