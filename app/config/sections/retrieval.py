"""What can be configured under ``retrieval``: one struct a kind of source."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from app.config.section import Section
from app.config.values.quantities import Duration, Secret
from app.retrieval.prompts.template import SYSTEM, TEMPLATE

Positive = Annotated[int, Meta(ge=1)]


class _Retrieval(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    """``k`` chunks are looked for, and at most ``max_tokens`` of them put before each prompt."""

    k: Annotated[int, Meta(ge=1, le=50)] = 5
    max_tokens: Annotated[int, Meta(ge=32, le=1_000_000)] = 1024
    min_score: float | None = None
    deadline: Duration = Duration(0.2)
    on_failure: Literal["proceed", "refuse"] = "proceed"
    suffix: Literal["off", "inject", "refuse"] = "off"
    template: str = TEMPLATE
    system: str = SYSTEM


class Documents(Section, frozen=True):
    """Files, and whom they are for: without ``tenants`` everyone, without ``keys`` all of theirs."""

    files: tuple[str, ...]
    tenants: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


class StaticRetrieval(_Retrieval, frozen=True, kw_only=True, tag="static"):
    encoder: str
    documents: tuple[Documents, ...]


class RedisRetrieval(_Retrieval, frozen=True, kw_only=True, tag="redis"):
    encoder: str
    url: Secret | None = None
    index: str | None = None
    filter: Annotated[str, Meta(max_length=1024)] = ""


class HttpRetrieval(_Retrieval, frozen=True, kw_only=True, tag="http"):
    url: str
    api_key: Secret = Secret("")
    filter: dict[str, Any] = field(default_factory=dict)


Retrieval = StaticRetrieval | RedisRetrieval | HttpRetrieval
