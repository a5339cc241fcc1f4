"""The retrievals of a configuration: for each model its source, and what becomes of what is found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import structlog

from app.config.prices import encoder_price
from app.config.sections.retrieval import HttpRetrieval, RedisRetrieval, StaticRetrieval
from app.config.sections.retrieval import Retrieval as Section
from app.config.settings import LocalEncoder, Settings
from app.config.values.encryption_key import parse_encryption_key
from app.core.call import Call
from app.core.pricing import Price
from app.core.usage import estimate_text
from app.openai.completions.request import CompletionRequest
from app.policy.encoders import retrieval_encoder
from app.providers.base import Provider
from app.providers.client.outside import Outside
from app.retrieval.chunk import EVERYONE, RetrievalFailure, Source, TextEncoder
from app.retrieval.documents import Audience
from app.retrieval.prompts.placement import Templates
from app.retrieval.prompts.template import parse_system, parse_template
from app.retrieval.retriever import Retriever
from app.retrieval.sources.http import HttpSource
from app.retrieval.sources.static import Kept, StaticSource
from cache.chunks.index import ChunkIndex
from cache.chunks.source import RedisSource
from cache.store.base import Store
from cache.store.opening import open_store

FAMILIES = frozenset({"completions", "chat"})
RETRY_SECONDS = (5.0, 15.0, 60.0)
STORE_TIMEOUT = 0.2


class Paid(NamedTuple):
    """Whom an embedding is paid to. ``price`` is None where nobody knows it."""

    provider: str
    model: str
    price: Price | None


class RetrievalPlan(NamedTuple):
    """How the prompts of a model get their chunks. ``overhead`` is the templates', in tokens."""

    name: str
    retriever: Retriever
    templates: Templates
    k: int
    min_score: float | None
    max_tokens: int
    overhead: int
    refuses: bool
    suffix: Literal["off", "inject", "refuse"]
    paid: Paid | None

    def most(self, call: Call) -> int:
        """The most tokens that are put into the prompts of a call."""
        if call.family.name not in FAMILIES:
            return 0
        request = call.request
        prompts = len(request.prompts) if isinstance(request, CompletionRequest) else 1
        return max(1, prompts) * (self.max_tokens + self.overhead)


class Retrievals:
    """The plans by alias. ``sources`` are prepared when a worker starts or changes to a new file."""

    def __init__(
        self, plans: Mapping[str, RetrievalPlan], sources: Mapping[str, Source], kept: Kept
    ) -> None:
        self._kept = kept
        self._plans = plans
        self._sources = sources
        self._preparing: list[asyncio.Task[None]] = []

    def of(self, call: Call) -> RetrievalPlan | None:
        """The plan for a call that somebody can answer; None where it gets no chunks."""
        if not call.targets or call.family.name not in FAMILIES:
            return None
        return self._plans.get(call.request.model)

    def most_added(self, call: Call) -> int:
        """The most tokens that are put into the prompts of a call, before anybody is chosen for it."""
        plan = self._plans.get(call.request.model)
        return plan.most(call) if plan is not None else 0

    async def prepare(self, seconds: float) -> None:
        """Get every source ready, and wait for it for a time; what is not ready then goes on aside."""
        task = asyncio.get_running_loop().create_task(self._prepare_all())
        self._preparing.append(task)
        await asyncio.wait([task], timeout=seconds)

    async def aclose(self) -> None:
        for task in self._preparing:
            task.cancel()
        await asyncio.gather(*self._preparing, return_exceptions=True)
        for source in self._sources.values():
            await source.aclose()

    async def _prepare_all(self) -> None:
        for name, source in self._sources.items():  # one by one: they may have files in common
            if not await _is_ready(name, source):
                task = asyncio.get_running_loop().create_task(_keep_trying(name, source))
                self._preparing.append(task)
        self._kept.forget_unused()


async def _keep_trying(name: str, source: Source) -> None:
    attempt = 0
    while True:
        await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
        if await _is_ready(name, source):
            return
        attempt += 1


async def _is_ready(name: str, source: Source) -> bool:
    try:
        await source.prepare()
    except RetrievalFailure as failure:
        reason = str(failure)
        structlog.get_logger("headgate").error("retrieval_not_ready", retrieval=name, reason=reason)
        return False
    return True


def make_retrievals(
    settings: Settings, provider_of: Callable[[str], Provider], store: Store, kept: Kept
) -> Retrievals:
    """Every retrieval that a model uses. The configuration was checked. Raises EncoderUnavailable."""
    used = {one.retrieval for one in settings.models.values() if one.retrieval is not None}
    made: dict[str, RetrievalPlan] = {}
    sources: dict[str, Source] = {}
    for name, section in settings.retrieval.items():
        if name in used:
            encoder = _encoder_of(section, settings, provider_of)
            sources[name] = source = _source_of(name, section, settings, encoder, store, kept)
            made[name] = _plan_of(
                name, section, settings, Retriever(source, encoder, float(section.deadline))
            )
    plans = {
        alias: made[model.retrieval]
        for alias, model in settings.models.items()
        if model.retrieval is not None
    }
    return Retrievals(plans, sources, kept)


def index_of(
    name: str, section: RedisRetrieval, settings: Settings, encoder: str, store: Store
) -> ChunkIndex:
    """The index behind a retrieval, with whatever encrypts what the store keeps."""
    keys = [parse_encryption_key(key.reveal()) for key in settings.store.encryption_keys]
    seal = None
    if keys:
        from cache.store.sealing import Seal  # noqa: PLC0415 - an extra

        seal = Seal(keys)
    return ChunkIndex(store, section.index or name, encoder, seal)


def _plan_of(
    name: str, section: Section, settings: Settings, retriever: Retriever
) -> RetrievalPlan:
    prompt, system = parse_template(section.template), parse_system(section.system)
    return RetrievalPlan(
        name,
        retriever,
        Templates(prompt, system),
        section.k,
        section.min_score,
        section.max_tokens,
        max(estimate_text("".join(prompt)), estimate_text("".join(system))) + 1,
        section.on_failure == "refuse",
        section.suffix,
        _paid(section, settings),
    )


def _paid(section: Section, settings: Settings) -> Paid | None:
    if isinstance(section, HttpRetrieval):
        return None
    encoder = settings.encoders[section.encoder]
    if isinstance(encoder, LocalEncoder):
        return None
    return Paid(encoder.provider, encoder.model, encoder_price(encoder, settings))


def _encoder_of(
    section: Section, settings: Settings, provider_of: Callable[[str], Provider]
) -> TextEncoder | None:
    if isinstance(section, HttpRetrieval):
        return None
    return retrieval_encoder(section.encoder, settings, provider_of)


def _source_of(
    name: str,
    section: Section,
    settings: Settings,
    encoder: TextEncoder | None,
    store: Store,
    kept: Kept,
) -> Source:
    if isinstance(section, HttpRetrieval):
        outside = Outside(
            section.url, float(section.deadline), section.api_key.reveal(), name, "retrieval"
        )
        return HttpSource(outside.post, section.filter, outside.aclose)
    assert encoder is not None
    if isinstance(section, StaticRetrieval):
        groups = [
            (one.files, Audience(one.tenants or (EVERYONE,), one.keys or (EVERYONE,)))
            for one in section.documents
        ]
        return StaticSource(name, groups, encoder, kept)
    own = open_store(section.url.reveal(), STORE_TIMEOUT) if section.url is not None else None
    index = index_of(name, section, settings, encoder.identity, own or store)
    return RedisSource(index, section.filter, own)
