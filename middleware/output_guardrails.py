"""May it be answered? Every text of an answer under the rules for it, before it is kept or sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from app.concurrency.background import Background
from app.core.call import Call, Handler
from app.core.errors import GatewayError, GuardrailBlocked, GuardrailUnavailable, UpstreamError
from app.core.reply import Answer, Chunk, Origin, ReplyWriter, StreamEnd
from app.core.usage import Counts
from app.guardrails.accounts import count, left_out, listen, note
from app.guardrails.answers.plain import PlainAnswer
from app.guardrails.answers.streamed import StreamedAnswer, TooMuchHeld
from app.guardrails.plan import GuardPlan, PhasePlan
from app.guardrails.reading import Report
from app.guardrails.rule import Asked
from app.guardrails.texts.walk import Text

HEADER = b"x-headgate-guardrails"


class AnswerStopped(Exception):
    """An answer may not go on. No failure of the target that gave it: nobody else should be asked."""

    def __init__(self, error: GatewayError) -> None:
        super().__init__(error.message)
        self.error = error


class OutputGuardrails:
    """Applies the plan of rules that a call brings along.

    ``max_buffer`` is the most bytes of a stream that wait for a rule which needs it whole.
    """

    def __init__(
        self, inner: Handler, *, counts: Counts, background: Background, max_buffer: int
    ) -> None:
        self._inner = inner
        self._counts = counts
        self._background = background
        self._max_buffer = max_buffer

    async def __call__(self, call: Call, reply: ReplyWriter) -> None:
        plan = cast("GuardPlan | None", call.guards)
        if plan is None or plan.output is None:
            await self._inner(call, reply)
            return
        report = Report()
        writer = GuardedReply(call, plan.output, reply, report, self._max_buffer)
        try:
            await self._inner(call, writer)
        except AnswerStopped as stopped:
            raise stopped.error from None
        finally:
            count(self._counts, plan.output, report)
            note(call.outcome.guardrails, report)
        self._listen(plan.output, writer)

    def _listen(self, plan: PhasePlan, writer: GuardedReply) -> None:
        """Let rules look that nobody waits for."""
        heard, asked, whole = writer.heard(), writer.asked, writer.streamed
        if not heard or not (plan.later or (whole and plan.hears_all)):
            return
        if not self._background.start(
            lambda: listen(self._counts, plan, asked, heard, whole=whole)
        ):
            left_out(self._counts, plan)


class GuardedReply:
    """Passes on what the rules leave of an answer.

    A stream begins for the caller with its first text: a refusal before that still has a status.
    """

    def __init__(
        self, call: Call, plan: PhasePlan, out: ReplyWriter, report: Report, max_buffer: int
    ) -> None:
        key = call.key
        asked = Asked(
            call.request_id, "output", key.tenant, key.id, call.request.model, call.family.name
        )
        said_in = call.family.said_in
        self.asked = asked
        self.streamed = call.request.stream
        self._call = call
        self._out = out
        self._report = report
        self._said_in = said_in
        self._plain = PlainAnswer(plan, report, asked, said_in)
        self._stream = StreamedAnswer(plan, report, asked, said_in, max_buffer=max_buffer)
        self._origin: Origin | None = None
        self._begun = False
        self._early: list[Chunk] = []

    def heard(self) -> list[Text]:
        """The texts of the answer as the upstream gave them."""
        return self._stream.heard() if self.streamed else self._plain.heard

    async def answer(self, origin: Origin, answer: Answer) -> None:
        try:
            body = await self._plain.read(answer.body)
        except (GuardrailBlocked, GuardrailUnavailable) as error:
            raise AnswerStopped(error) from None
        self._say()
        await self._out.answer(origin, answer._replace(body=body))

    async def begin(self, origin: Origin) -> None:
        self._origin = origin

    async def write(self, chunks: Sequence[Chunk]) -> None:
        ready = await self._ready(chunks, last=False)
        if self._begun:
            if ready:
                await self._out.write(ready)
            return
        self._early += ready
        if any(said.text for chunk in ready for said in self._said_in(chunk.document)):
            await self._begin()
            early, self._early = self._early, []
            await self._out.write(early)

    async def finish(self, end: StreamEnd, chunks: Sequence[Chunk] = ()) -> None:
        ready = self._early + await self._ready(chunks, last=True)
        await self._begin()
        await self._out.finish(end, ready)

    async def fail(self, error: UpstreamError) -> None:
        if not self._begun:
            raise error
        await self._out.fail(error)

    async def _ready(self, chunks: Sequence[Chunk], *, last: bool) -> list[Chunk]:
        try:
            return await (self._stream.finish(chunks) if last else self._stream.write(chunks))
        except (GuardrailBlocked, GuardrailUnavailable) as error:
            raise AnswerStopped(error) from None
        except TooMuchHeld:
            too_much = (
                "The answer is larger than what may wait for a guardrail that needs it whole."
            )
            raise AnswerStopped(GuardrailUnavailable(too_much, retryable=False)) from None

    async def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._say()
            assert self._origin is not None
            await self._out.begin(self._origin)

    def _say(self) -> None:
        said = self._report.header()
        if said:
            self._call.reply_headers.append((HEADER, said))
