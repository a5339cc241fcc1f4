"""May it be asked? Every text of a request under the rules for it, before the cache is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.concurrency.background import Background
from app.core.call import Call, Handler
from app.core.errors import GatewayError, InvalidRequest
from app.core.reply import ReplyWriter
from app.core.usage import Counts
from app.guardrails.accounts import count, left_out, listen, note
from app.guardrails.plan import GuardPlans, PhasePlan
from app.guardrails.reading import Reading, Report
from app.guardrails.rule import Asked
from app.guardrails.texts.unscannable import Detokenize, readable
from app.guardrails.texts.walk import Texts, rewritten, texts_of

HEADER = b"x-headgate-guardrails"
MOST_ASKED = 32


class InputGuardrails:
    """Applies the plan of rules for a key and a model, and says which plan that was.

    ``detokenizer_of`` gives what turns a model's token ids into text, where there is anything.
    A caller may ask for more rules by name in ``x-headgate-guardrails``, never for fewer.
    """

    def __init__(
        self,
        inner: Handler,
        *,
        plans: GuardPlans,
        counts: Counts,
        background: Background,
        detokenizer_of: Callable[[str], Detokenize | None],
    ) -> None:
        self._inner = inner
        self._plans = plans
        self._counts = counts
        self._background = background
        self._detokenizer_of = detokenizer_of

    async def __call__(self, call: Call, reply: ReplyWriter) -> None:
        key, alias = call.key, call.request.model
        call.guards = plan = self._plans.of(alias, key.tenant, key.id, self._asked(call))
        if plan.input is not None or plan.output is not None:
            document: Any = call.request.document
            texts = texts_of(document)
            ids = self._detokenizer_of(alias)
            whole = await readable(plan, texts, document, ids, self._counts)
            if plan.input is not None:
                call = await self._guarded(call, plan.input, texts._replace(texts=whole))
        await self._inner(call, reply)

    def _asked(self, call: Call) -> frozenset[str]:
        """The rules that the caller adds. Raises InvalidRequest for a name that is none."""
        header = call.headers.get(HEADER)
        if header is None:
            return frozenset()
        names = [name.strip() for name in header.decode("latin-1").split(",") if name.strip()]
        if len(names) > MOST_ASKED or self._plans.unknown(names):
            raise InvalidRequest(
                "`x-headgate-guardrails` names a guardrail that cannot be asked for.",
                param="x-headgate-guardrails",
            )
        return frozenset(names)

    async def _guarded(self, call: Call, plan: PhasePlan, texts: Texts) -> Call:
        """The call with what is left of its texts."""
        report = Report()
        key = call.key
        asked = Asked(
            call.request_id, "input", key.tenant, key.id, call.request.model, call.family.name
        )
        reading = Reading(plan, report, asked)
        try:
            changed = await reading.read(texts.texts, texts.joined)
        except GatewayError:
            call.outcome.shown = b""
            raise
        finally:
            count(self._counts, plan, report)
            note(call.outcome.guardrails, report)
        if plan.later:
            seen = [one for one in texts.texts if not one.name]
            if not self._background.start(
                lambda: listen(self._counts, plan, asked, seen, whole=False)
            ):
                left_out(self._counts, plan)
        if report.header():
            call.reply_headers.append((HEADER, report.header()))
        if not changed:
            return call
        changes = {texts.texts[position].path: text for position, text in changed.items()}
        request: Any = call.request
        request = request.replacing(rewritten(request.document, changes))
        call.outcome.shown = request.body_for(request.model)
        return call.with_request(request)
