"""Texts that are to be put beside a prompt, each under the rules of the input by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from app.core.errors import GuardrailBlocked, GuardrailUnavailable
from app.core.usage import Counts
from app.guardrails.accounts import count
from app.guardrails.plan import PhasePlan
from app.guardrails.reading import Reading, Report
from app.guardrails.rule import Asked
from app.guardrails.texts.walk import Text


async def screened(
    plan: PhasePlan, asked: Asked, texts: Sequence[str], counts: Counts
) -> list[str | None]:
    """What is left of each text; None of one that a rule blocks, or that none could be asked about."""
    report = Report()

    async def one(text: str) -> str | None:
        try:
            changed = await Reading(plan, report, asked).read([Text(("document",), text)])
        except (GuardrailBlocked, GuardrailUnavailable):
            return None
        return changed.get(0, text)

    try:
        return await asyncio.gather(*map(one, texts))
    finally:
        count(counts, plan, report)
