"""A body that goes upstream beside the chain, under the rules of the input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.usage import Counts
from app.guardrails.accounts import count
from app.guardrails.plan import GuardPlans
from app.guardrails.reading import Reading, Report
from app.guardrails.rule import Asked
from app.guardrails.texts.unscannable import readable
from app.guardrails.texts.walk import rewritten, texts_of


class GuardedBodies:
    """Applies the rules for a key and a model; rules that observe beyond the network are left out."""

    def __init__(self, plans: GuardPlans, counts: Counts) -> None:
        self._plans = plans
        self._counts = counts

    async def __call__(self, asked: Asked, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """The body with what is left of its texts. Raises GatewayError."""
        plan = self._plans.of(asked.model, asked.tenant, asked.key, frozenset())
        if plan.input is None:
            return document
        report, texts = Report(), texts_of(document)
        whole = await readable(plan, texts, document, None, self._counts)
        try:
            changed = await Reading(plan.input, report, asked).read(whole, texts.joined)
        finally:
            count(self._counts, plan.input, report)
        changes = {whole[position].path: text for position, text in changed.items()}
        return {**document, **rewritten(document, changes)}
