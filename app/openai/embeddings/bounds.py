"""What an embeddings request uses: its inputs' tokens, and nothing that is generated."""

from __future__ import annotations

from app.core.request import Allowance, Dialect, TargetRules
from app.core.usage import Usage, estimate_prompts
from app.openai.embeddings.request import CONTRACT, OVERHEAD, EmbeddingsRequest, Input
from app.openai.forwarded_members import refuse_others
from app.openai.message_size import text_bytes
from app.openai.output_limits import Contract, paid_by, refuse_dearer

_LIMITED = Contract(CONTRACT, (), paid_by("model", "input"))


def bounded(
    request: EmbeddingsRequest, rules: TargetRules, allowance: Allowance
) -> EmbeddingsRequest:
    """The request as a target may be sent it and a key may ask it. Raises InvalidRequest."""
    refuse_others(request.document, CONTRACT, rules.members)
    if allowance.bound:
        refuse_dearer(request.document, _LIMITED, rules.dialect)
    return request


def is_bounded(request: EmbeddingsRequest, dialect: Dialect) -> bool:
    """Always: the inputs are all that a server reads."""
    return True


def most(request: EmbeddingsRequest) -> Usage:
    """The most tokens that the inputs can be: exact for ids, a token per byte for text.

    Every further member that is a text, a list or an object counts by its bytes with each input,
    because some servers put an instruction before it.
    """
    document = request.document
    extra = sum(
        request.size_of(name)
        for name in document.keys() - CONTRACT
        if type(document[name]) in (str, list, dict)
    )
    count = len(request.inputs)
    return Usage(sum(map(_most, request.inputs)) + extra * count, 0, estimated=True)


def likely(request: EmbeddingsRequest) -> Usage:
    """The tokens that the inputs probably are."""
    return Usage(estimate_prompts(request.inputs), 0, estimated=True)


def _most(one: Input) -> int:
    return OVERHEAD + (text_bytes(one) if isinstance(one, str) else len(one))
