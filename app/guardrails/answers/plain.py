"""A plain answer on its way to the caller, under the rules of the output."""

from __future__ import annotations

from typing import Any

import orjson

from app.guardrails.plan import PhasePlan
from app.guardrails.reading import Reading, Report
from app.guardrails.rule import Asked
from app.guardrails.texts.documents import SaidIn, holders, text_of
from app.guardrails.texts.retold import tells
from app.guardrails.texts.walk import Text
from app.openai.said import put, retold_in


class PlainAnswer:
    """Applies the rules to a whole answer."""

    def __init__(self, plan: PhasePlan, report: Report, asked: Asked, said_in: SaidIn) -> None:
        self._plan = plan
        self._reading = Reading(plan, report, asked)
        self._said_in = said_in
        self.heard: list[Text] = []

    async def read(self, body: bytes) -> bytes:
        """The answer as it may go on. Raises GuardrailBlocked and GuardrailUnavailable."""
        document = orjson.loads(body)
        said = self._said_in(document)
        self.heard = texts = [text_of(one) for one in said]
        changed = await self._reading.read(texts)
        touched = {said[position].choice for position in changed}
        for position, text in changed.items():
            put(document, said[position], text)
        if self._untell(document, touched) or changed:
            return orjson.dumps(document)
        return body

    def _untell(self, document: dict[str, Any], touched: set[int | None]) -> bool:
        """Take away what would tell again what was cut out; whether anything was."""
        taken = False
        for holder, choice in holders(document):
            told = choice in touched or (choice is None and bool(touched))
            taken |= self._without(holder, told=told)
        return taken

    def _without(self, holder: dict[str, Any], *, told: bool) -> bool:
        taken = False
        for name, value in retold_in(holder).items():
            if told or tells(self._plan, value):
                holder[name] = None
                taken = True
        return taken
