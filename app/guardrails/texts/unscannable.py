"""What of a request is no text: refused, turned into text to be read, or allowed and counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from app.core.errors import GuardrailUnavailable, InvalidRequest, UpstreamError
from app.core.usage import Counts
from app.guardrails.plan import GuardPlan, PhasePlan
from app.guardrails.rule import Rule
from app.guardrails.texts.walk import Path, Text, Texts, param_of, token_ids_at

UNSCANNABLE = "headgate_guardrail_unscannable_total"

# The text that token ids stand for; raises UpstreamError.
Detokenize = Callable[[Sequence[int]], Awaitable[str]]


async def readable(
    plan: GuardPlan,
    texts: Texts,
    document: Mapping[str, Any],
    detokenize: Detokenize | None,
    counts: Counts,
) -> list[Text]:
    """The texts to read, with those that token ids stand for.

    Raises InvalidRequest for what no rule may let pass unread, and GuardrailUnavailable where the
    text of token ids cannot be had.
    """
    _allowed(plan.output, _sounds(document), counts)
    phase = plan.input
    if phase is None or not texts.opaque:
        return texts.texts
    if phase.refuses or not phase.detokenizes:
        _allowed(phase, texts.opaque, counts)
        return texts.texts
    rule, more = phase.detokenizes[0], []
    for path in texts.opaque:
        tokens = token_ids_at(document, path)
        if tokens is None or detokenize is None:
            _refuse(phase, path, rule, counts)
            continue
        counts.add(UNSCANNABLE, {"phase": phase.phase, "action": "detokenize"}, 1)
        try:
            # What is found in it cannot be cut out of the ids, so it blocks, as a name does.
            more.append(Text(path, await detokenize(tokens), name=True))
        except UpstreamError:
            raise GuardrailUnavailable(
                f"The guardrail `{rule.name}` cannot read the token ids: their server gives no text."
            ) from None
    return [*texts.texts, *more]


def _allowed(phase: PhasePlan | None, opaque: Sequence[Path], counts: Counts) -> None:
    if phase is None or not opaque:
        return
    strict = [*phase.refuses, *phase.detokenizes]
    if strict:
        _refuse(phase, opaque[0], strict[0], counts)
    counts.add(UNSCANNABLE, {"phase": phase.phase, "action": "allow"}, len(opaque))


def _refuse(phase: PhasePlan, path: Path, rule: Rule, counts: Counts) -> None:
    counts.add(UNSCANNABLE, {"phase": phase.phase, "action": "refuse"}, 1)
    param = param_of(path)
    raise InvalidRequest(
        f"`{param}` is no text, so the guardrail `{rule.name}` cannot read it.",
        code="unsupported_parameter",
        param=param,
    )


def _sounds(document: Mapping[str, Any]) -> list[Path]:
    """Where an answer is asked for that is no text."""
    modalities = document.get("modalities")
    other = isinstance(modalities, list) and any(one != "text" for one in modalities)
    return [("modalities",)] if other else []
