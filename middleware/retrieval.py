"""Which documents help to answer? Chunks that are put beside a prompt before anything reads it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import blake2b
from time import perf_counter
from typing import Any
from urllib.parse import quote

from app.core.call import Call, Context, Handler
from app.core.errors import RetrievalUnavailable
from app.core.exchange import Retrieved
from app.core.reply import ReplyWriter
from app.core.usage import Counts
from app.policy.embedding_account import EmbeddingAccount
from app.policy.retrieval import RetrievalPlan
from app.retrieval.chunk import Chunk, RetrievalFailure, Wanted
from app.retrieval.prompts.choosing import Chosen, choose
from app.retrieval.prompts.placement import placed, questions_of
from app.retrieval.prompts.template import context_of
from app.retrieval.retriever import Spent

RESULTS = "headgate_retrieval_total"
CHUNKS = "headgate_retrieval_chunks_total"
FAILURES = "headgate_retrieval_failures_total"
MICROSECONDS = "headgate_retrieval_microseconds_total"
MAX_SOURCES = 1024  # bytes of the header that names them

# What is left of each text under the rules of a call; None of one that must not be used.
Screen = Callable[[Call, Sequence[str]], Awaitable[Sequence[str | None]]]


class Retrieval:
    """Adds to a call's prompts what its model's source finds for them. Passes on every other call.

    ``before`` gives what reads a prompt before it is asked about, around a handler; ``read`` is the
    rest of the chain for prompts that were read by it and have not changed since, ``inner`` the rest
    for all others. ``screen`` reads chunks. ``account`` books what embeddings cost.
    """

    def __init__(
        self,
        inner: Handler,
        *,
        plan_of: Callable[[Call], RetrievalPlan | None],
        before: Callable[[Handler], Handler],
        read: Handler,
        screen: Screen | None,
        account: EmbeddingAccount,
        counts: Counts,
    ) -> None:
        self._inner = inner
        self._plan_of = plan_of
        self._first = before(self._retrieve)
        self._read = read
        self._screen = screen
        self._account = account
        self._counts = counts

    def __call__(self, call: Call, reply: ReplyWriter) -> Awaitable[None]:
        if self._plan_of(call) is None:
            return self._inner(call, reply)
        return self._first(call, reply)

    async def _retrieve(self, call: Call, reply: ReplyWriter) -> None:
        plan = self._plan_of(call)
        assert plan is not None
        request: Any = call.request
        questions = questions_of(request, plan.suffix)
        if questions is None:
            await self._read(call, reply)
            return
        try:
            found = await self._found(call, plan, [one for one in questions if one])
        except RetrievalFailure as failure:
            self._count(FAILURES, plan, reason=str(failure))
            self._note(call, plan, Retrieved("failed"))
            if plan.refuses:
                raise RetrievalUnavailable(
                    f"The documents that `{request.model}` answers from cannot be had: {failure}."
                ) from None
            await self._read(call, reply)
            return
        chosen = [self._chosen(plan, found.get(question, ())) for question in questions]
        if not any(one.chunks for one in chosen):
            self._note(call, plan, Retrieved("empty"))
            await self._read(call, reply)
            return
        ids = dict.fromkeys(chunk.id for one in chosen for chunk in one.chunks)
        self._note(call, plan, Retrieved("used", tuple(ids)))
        contexts = [context_of(one.chunks) if one.chunks else "" for one in chosen]
        assembled: Any = placed(request, contexts, plan.templates)
        changed = call.with_request(assembled)
        changed.context = Context(request, _identity(plan, chosen))
        await self._inner(changed, reply)

    async def _found(
        self, call: Call, plan: RetrievalPlan, questions: Sequence[str]
    ) -> Mapping[str, Sequence[Chunk]]:
        """What the source has for each question and the rules leave of it. Raises RetrievalFailure."""
        if not questions:
            return {}
        wanted = Wanted(call.key.tenant, call.key.id, plan.k)
        began = perf_counter()
        try:
            found = await self._paid(call, plan, questions, wanted)
        finally:
            spent = max(1, round((perf_counter() - began) * 1e6))
            self._counts.add(MICROSECONDS, {"retrieval": plan.name}, spent)
        if self._screen is None or not any(found.values()):
            return found
        return await self._screened(call, plan, found)

    async def _paid(
        self, call: Call, plan: RetrievalPlan, questions: Sequence[str], wanted: Wanted
    ) -> dict[str, list[Chunk]]:
        """What the source has; where an embedding is paid for, it is held before and booked after."""
        spent = Spent()
        if plan.paid is None:
            return await plan.retriever.find(questions, wanted, spent)
        booking = await self._account.open(call, plan.paid, list(dict.fromkeys(questions)))
        failure: str | None = "cancelled"
        try:
            found = await plan.retriever.find(questions, wanted, spent)
            failure = None
        except RetrievalFailure as error:
            failure = str(error)
            raise
        finally:
            self._account.close(booking, spent, failure)
        return found

    async def _screened(
        self, call: Call, plan: RetrievalPlan, found: Mapping[str, Sequence[Chunk]]
    ) -> dict[str, list[Chunk]]:
        """The chunks under the rules of the call; one that a rule blocks is left out."""
        assert self._screen is not None
        texts = list(dict.fromkeys(chunk.text for chunks in found.values() for chunk in chunks))
        left = dict(zip(texts, await self._screen(call, texts), strict=True))
        self._count_chunks(plan, "guardrail", sum(text is None for text in left.values()))
        return {
            question: [
                chunk._replace(text=text)
                for chunk in chunks
                if (text := left[chunk.text]) is not None
            ]
            for question, chunks in found.items()
        }

    def _chosen(self, plan: RetrievalPlan, found: Sequence[Chunk]) -> Chosen:
        chosen = choose(found, min_score=plan.min_score, max_tokens=plan.max_tokens)
        self._count_chunks(plan, "used", len(chosen.chunks))
        for reason, count in chosen.left_out.items():
            self._count_chunks(plan, reason, count)
        return chosen

    def _note(self, call: Call, plan: RetrievalPlan, retrieved: Retrieved) -> None:
        """Tell the caller, the record and the metrics what was done."""
        call.outcome.retrieval = retrieved
        count = len(retrieved.chunks)
        call.reply_headers.append((b"x-headgate-rag", f"{retrieved.result}; n={count}".encode()))
        if count:
            call.reply_headers.append((b"x-headgate-rag-sources", _named(retrieved.chunks)))
        self._count(RESULTS, plan, model=call.request.model, result=retrieved.result)

    def _count(self, name: str, plan: RetrievalPlan, **labels: str) -> None:
        self._counts.add(name, {"retrieval": plan.name, **labels})

    def _count_chunks(self, plan: RetrievalPlan, action: str, count: int) -> None:
        if count:
            self._counts.add(CHUNKS, {"retrieval": plan.name, "action": action}, count)


def _named(ids: Sequence[str]) -> bytes:
    """As many ids as fit, percent-encoded where a header cannot hold them."""
    said = b""
    for one in ids:
        more = quote(one, safe="/#:@._~-").encode()
        if len(said) + len(more) + 2 > MAX_SOURCES:
            break
        said = said + b", " + more if said else more
    return said


def _identity(plan: RetrievalPlan, chosen: Sequence[Chosen]) -> bytes:
    """A digest of the chunks, whatever their order, and of the texts around them."""
    digest = blake2b(repr(plan.templates).encode(errors="surrogatepass"), digest_size=16)
    for one in chosen:
        said = sorted((chunk.id, chunk.text) for chunk in one.chunks)
        digest.update(repr(said).encode(errors="surrogatepass"))
    return digest.digest()
