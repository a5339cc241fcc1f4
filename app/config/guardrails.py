"""What can be configured under ``guardrails``: one struct a kind of rule."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from app.config.values.quantities import Duration, Secret

Mode = Literal["block", "redact", "observe"]
Phase = Literal["input", "output"]
Entity = Literal["email", "phone", "card", "iban", "ssn", "ip", "national_id"]
Positive = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(ge=0, le=1)]


class _Rule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    """``models``, ``tenants`` and ``keys`` are globs; without any, a rule holds everywhere.

    With ``on_request`` it holds where a caller asks for it. ``unscannable`` says what becomes of a
    request with something that is not text; by default such a request is refused, unless the rule
    only observes.
    """

    mode: Mode = "block"
    phases: tuple[Phase, ...] = ("input", "output")
    models: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    on_request: bool = False
    unscannable: Literal["refuse", "detokenize", "allow"] | None = None
    replacement: Annotated[str, Meta(max_length=64)] | None = None


class RegexRule(_Rule, frozen=True, kw_only=True, tag="regex"):
    patterns: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    max_match: Annotated[int, Meta(ge=1, le=4096)] = 256


class KeywordsRule(_Rule, frozen=True, kw_only=True, tag="keywords"):
    words: tuple[str, ...] = ()
    file: str = ""
    whole_words: bool = True
    case_sensitive: bool = False


class PiiRule(_Rule, frozen=True, kw_only=True, tag="pii"):
    entities: tuple[Entity, ...] = ("email", "phone", "card", "iban", "ssn", "ip")


class SecretsRule(_Rule, frozen=True, kw_only=True, tag="secrets"):
    pass


class LengthRule(_Rule, frozen=True, kw_only=True, tag="length"):
    max_characters: Positive | None = None
    max_words: Positive | None = None
    min_characters: Positive | None = None


class JsonSchemaRule(_Rule, frozen=True, kw_only=True, tag="json_schema"):
    schema: dict[str, Any] = {}
    file: str = ""


class InjectionRule(_Rule, frozen=True, kw_only=True, tag="injection"):
    mode: Mode = "observe"
    phases: tuple[Phase, ...] = ("input",)


class InvisibleRule(_Rule, frozen=True, kw_only=True, tag="invisible"):
    phases: tuple[Phase, ...] = ("input",)


class TopicsRule(_Rule, frozen=True, kw_only=True, tag="topics"):
    """``topics``: a name, and sentences that are examples of it."""

    encoder: str
    topics: dict[str, tuple[str, ...]]
    threshold: Rate = 0.6
    phases: tuple[Phase, ...] = ("input",)


class _Remote(_Rule, frozen=True, kw_only=True):
    deadline: Duration = Duration(0.5)
    on_failure: Literal["closed", "open"] = "closed"
    window: Annotated[int, Meta(ge=32, le=100_000)] | None = None


class ModerationRule(_Remote, frozen=True, kw_only=True, tag="moderation"):
    url: str = "https://api.openai.com/v1/moderations"
    api_key: Secret = Secret("")
    model: str = "omni-moderation-latest"
    categories: tuple[str, ...] = ()
    threshold: Rate | None = None


class WebhookRule(_Remote, frozen=True, kw_only=True, tag="webhook"):
    url: str
    secret: Secret


Rule = (
    RegexRule
    | KeywordsRule
    | PiiRule
    | SecretsRule
    | LengthRule
    | JsonSchemaRule
    | InjectionRule
    | InvisibleRule
    | TopicsRule
    | ModerationRule
    | WebhookRule
)
RemoteRule = ModerationRule | WebhookRule
