"""What a chat request uses: at most, for the budgets, and probably, for the limits."""

from __future__ import annotations

from app.core.request import DEFAULT_MAX_OUTPUT, Allowance, Dialect, TargetRules
from app.core.usage import Usage, estimate_bytes
from app.openai.chat.request import CONTRACT, LIMITS, ChatRequest
from app.openai.forwarded_members import refuse_others
from app.openai.message_size import MESSAGE_OVERHEAD, size_of
from app.openai.output_limits import Contract, one_limit, paid_by, says_more

# The system prompt that a chat template brings along (gpt-oss adds 70 tokens, Llama 3.1 40).
TEMPLATE_OVERHEAD = 128

# Members that servers are known to put into the prompt.
_IN_PROMPT = frozenset({"tools", "functions", "response_format", "documents"})
# Members that no server puts into a prompt, or that are counted by themselves.
_NOT_IN_PROMPT = CONTRACT - _IN_PROMPT

# What is charged apart, or at another price, is for the dialect to say, contract or not.
_LIMITED = Contract(
    CONTRACT - {"service_tier", "web_search_options"}, LIMITS, paid_by("model", "messages", "n")
)


def bounded(request: ChatRequest, rules: TargetRules, allowance: Allowance) -> ChatRequest:
    """The request as a target may be sent it and a key may ask it. Raises InvalidRequest."""
    refuse_others(request.document, CONTRACT, rules.members)
    request = request.counting(rules.part_tokens)
    if not allowance.bound:
        return request
    document, cap, dialect = request.document, allowance.cap, rules.dialect
    tokens, removed = one_limit(document, _LIMITED, cap, dialect, rules.max_output)
    return request.limited_to(tokens, rules.limit_name, removed)


def is_bounded(request: ChatRequest, dialect: Dialect) -> bool:
    """Whether one limit is all that a server reads of how much to generate."""
    return request.limited or (
        request.max_tokens is not None and not says_more(request.document, _LIMITED, dialect)
    )


def most(request: ChatRequest) -> Usage:
    """The most tokens that a request can use."""
    return Usage(prompt_bound(request), output_bound(request), estimated=True)


def likely(request: ChatRequest) -> Usage:
    """The conversation, estimated, and the output bound."""
    return Usage(prompt_estimate(request), output_bound(request), estimated=True)


def prompt_bound(request: ChatRequest) -> int:
    """The most tokens that a conversation can be: a token per byte of text.

    Every further member that is a text, a list or an object counts by its bytes, because servers
    put tools, schemas and documents into the prompt.
    """
    extra = sum(
        request.size_of(name)
        for name in request.document.keys() - _NOT_IN_PROMPT
        if type(request.document[name]) in (str, list, dict)
    )
    size = size_of(request.messages, request.part_tokens)
    overhead = MESSAGE_OVERHEAD * (size.messages + 1) + TEMPLATE_OVERHEAD
    return size.text + size.parts + overhead + extra


def prompt_estimate(request: ChatRequest) -> int:
    """The tokens that a conversation probably is, by rule of thumb for text."""
    present = _IN_PROMPT & request.document.keys()
    extra = sum(map(request.size_of, present)) if present else 0
    size = size_of(request.messages, request.part_tokens)
    return estimate_bytes(size.text + extra) + size.parts


def output_bound(request: ChatRequest) -> int:
    """The most tokens that a request can generate.

    What a caller predicts is charged as output where the model says otherwise.
    """
    limit = DEFAULT_MAX_OUTPUT if request.max_tokens is None else request.max_tokens
    predicted = request.size_of("prediction") if "prediction" in request.document else 0
    return request.n * (limit + predicted)
