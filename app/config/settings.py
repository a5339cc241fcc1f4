"""What can be configured: frozen structs with their defaults, one per section of the file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from app.config.admin import Admin
from app.config.audit import Audit
from app.config.guardrails import Rule
from app.config.providers import AnyProvider, Positive, Rate
from app.config.section import Section
from app.config.sections.retrieval import Retrieval
from app.config.sections.tracing import Tracing
from app.config.values.header_names import HeaderName
from app.config.values.quantities import Duration, Secret, Size
from app.core.request import DEFAULT_PART_TOKENS

Dollars = Annotated[float, Meta(ge=0, le=9_000_000)]  # sums stay exact, see core/pricing
Capability = Literal["completions", "chat", "embeddings"]


class Management(Section, frozen=True):
    port: Annotated[int, Meta(ge=1, le=65535)]
    host: str = "127.0.0.1"


class Server(Section, frozen=True):
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    max_body_bytes: Size = Size(1 << 20)
    body_timeout: Duration = Duration(30)
    send_timeout: Duration = Duration(60)
    max_pending_bytes: Size = Size(256 << 20)
    max_held_bytes: Size = Size(256 << 10)
    head_timeout: Duration = Duration(10)
    keepalive_timeout: Duration = Duration(75)
    max_connections: Annotated[int, Meta(ge=128)] = 4096
    max_connections_per_address: Positive | None = None
    trusted_proxies: tuple[str, ...] = ()
    bad_keys_per_minute: Positive = 20
    shutdown_grace: Duration = Duration(30)
    shutdown_delay: Duration = Duration(5)
    worker_timeout: Duration = Duration(15)
    docs: bool = False
    management: Management | None = None


class Outage(Section, frozen=True):
    limits: Literal["local", "allow", "refuse"] = "local"
    budgets: Literal["refuse", "allow"] = "refuse"
    cache: Literal["bypass"] = "bypass"


class Store(Section, frozen=True):
    url: Secret = Secret("memory://")
    timeout: Duration = Duration(0.05)
    lease: Duration = Duration(60)
    optional: bool = False
    encryption_keys: tuple[Secret, ...] = ()
    on_outage: Outage = Outage()


class CacheStore(Section, frozen=True):
    url: Secret
    timeout: Duration = Duration(0.05)


class Price(Section, frozen=True):
    input_per_million: Dollars
    output_per_million: Dollars
    cached_input_per_million: Dollars | None = None
    cache_write_per_million: Dollars | None = None
    reasoning_per_million: Dollars | None = None


class TargetTimeouts(Section, frozen=True):
    connect: Duration | None = None
    first_byte: Duration | None = None
    idle: Duration | None = None
    total: Duration | None = None


class Target(Section, frozen=True):
    provider: str
    model: Annotated[str, Meta(min_length=1)]
    tier: Annotated[int, Meta(ge=0, le=100)] = 0
    weight: Annotated[float, Meta(ge=0, le=1_000_000)] = 1
    identity: str | None = None
    context: Positive | None = None
    price: Price | None = None
    timeouts: TargetTimeouts = TargetTimeouts()
    limits: str | None = None
    when: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """What it is called in logs, metrics and the store."""
        return f"{self.provider}/{self.model}"

    @property
    def answers_as(self) -> str:
        """Whose answers it gives: those of targets that say the same are interchangeable."""
        return self.identity or self.name


class ExactCache(Section, frozen=True):
    enabled: bool = True
    ttl: Duration = Duration(3600)
    max_ttl: Duration | None = None
    stale_while_revalidate: Duration = Duration(0)
    stale_if_error: Duration = Duration(3600)
    max_entry: Size = Size(1 << 20)


class Verification(Section, frozen=True):
    tier1: Rate = 0.02
    tier1b: Rate = 0.05
    tier2: Rate = 0.05
    control: Rate = 0.02
    max_error: Rate = 0.01
    usd_per_day: Dollars = 1


class SemanticCache(Section, frozen=True):
    enabled: bool = False
    dry_run: bool = False
    tier1b: bool = True
    languages: tuple[Literal["en", "de", "fr", "es", "it", "pt"], ...] = ("en",)
    encoder: str | None = None
    threshold: Rate = 0.9
    sampled: Literal["exact", "reuse"] = "exact"
    verify: Verification = Verification()


class Cache(Section, frozen=True):
    exact: ExactCache = ExactCache()
    semantic: SemanticCache | None = None
    normalize: Literal["none", "standard", "loose"] = "standard"
    scope: Literal["tenant", "key", "global"] = "tenant"
    sampled: Literal["reuse", "bypass"] = "reuse"
    coalesce: Literal["deterministic", "all", "off"] = "deterministic"
    ignore: tuple[str, ...] = ()


class PartTokens(Section, frozen=True):
    image_low: Positive = DEFAULT_PART_TOKENS.image_low
    image_high: Positive = DEFAULT_PART_TOKENS.image_high
    image_auto: Positive = DEFAULT_PART_TOKENS.image_auto
    audio: Positive = DEFAULT_PART_TOKENS.audio
    video: Positive = DEFAULT_PART_TOKENS.video
    file: Positive = DEFAULT_PART_TOKENS.file
    other: Positive = DEFAULT_PART_TOKENS.other


class Fim(Section, frozen=True):
    """Either a template's three marks, or another target that fills in the middle."""

    prefix: str = ""
    suffix: str = ""
    middle: str = ""
    provider: str | None = None
    model: str | None = None


class Model(Section, frozen=True):
    targets: tuple[Target, ...]
    pick: Literal["weighted", "sticky", "least_busy", "cheapest", "prefix"] = "weighted"
    sticky_header: HeaderName = HeaderName("x-session-id")
    on_timeout: Literal["next", "fail"] = "next"
    on_content_filter: Literal["next", "fail"] = "fail"
    breaker: bool = True
    completions: Literal["native", "chat", "off"] = "native"
    fim: Literal["qwen", "codellama", "starcoder", "deepseek", "codestral"] | Fim | None = None
    fan_out: Annotated[int, Meta(ge=1, le=64)] = 8
    max_calls: Positive = 64
    max_output_tokens: Positive | None = None
    tokenizer: bool = False
    part_tokens: PartTokens = PartTokens()
    unknown_usage: Literal["prompt", "bound", "nothing"] = "prompt"
    price: Price | None = None
    cache: Cache | None = None
    retrieval: str | None = None


class Caching(Section, frozen=True):
    shelf_size: Size = Size(16 << 20)
    shelf_ttl: Duration = Duration(10)
    embedded_size: Size = Size(64 << 20)
    max_bytes: Size = Size(256 << 20)
    max_bytes_per_tenant: Size | None = None


class LocalEncoder(Section, frozen=True, tag_field="kind", tag="local"):
    pass


class RemoteEncoder(Section, frozen=True, tag_field="kind", tag="openai"):
    provider: str
    model: Annotated[str, Meta(min_length=1)]
    timeout: Duration = Duration(0.2)
    price_per_million: Dollars | None = None


class LimitPolicy(Section, frozen=True):
    requests_per_minute: Positive | None = None
    request_burst: Positive | None = None
    tokens_per_minute: Positive | None = None
    token_burst: Positive | None = None
    concurrent: Positive | None = None


class BudgetPolicy(Section, frozen=True):
    usd: Dollars
    per: Literal["hour", "day", "week", "month"]


class TenantModel(Section, frozen=True):
    limits: str | None = None
    budget: str | None = None


class Tenant(Section, frozen=True):
    limits: str | None = None
    budget: str | None = None
    models: dict[str, TenantModel] = field(default_factory=dict)


class CallerKey(Section, frozen=True):
    id: str
    tenant: str
    secret: tuple[Secret, ...] = ()
    secret_sha256: tuple[str, ...] = ()
    secret_file: tuple[str, ...] = ()
    capabilities: tuple[Capability, ...] = ("completions",)
    models: tuple[str, ...] = ("*",)
    limits: str | None = None
    budget: str | None = None
    max_output_tokens: Positive | None = None
    cache_ttl: Duration | None = None
    portkey: bool = False
    expires: str | None = None


class Log(Section, frozen=True):
    format: Literal["auto", "json", "console"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
    prompts: bool = False


class Settings(Section, frozen=True):
    """The whole file."""

    server: Server = Server()
    store: Store = Store()
    cache_store: CacheStore | None = None
    cache: Caching = Caching()
    log: Log = Log()
    audit: Audit | None = None
    tracing: Tracing | None = None
    providers: dict[str, AnyProvider] = field(default_factory=dict)
    encoders: dict[str, LocalEncoder | RemoteEncoder] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    configs: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, LimitPolicy] = field(default_factory=dict)
    budgets: dict[str, BudgetPolicy] = field(default_factory=dict)
    tenants: dict[str, Tenant] = field(default_factory=dict)
    guardrails: dict[str, Rule] = field(default_factory=dict)
    retrieval: dict[str, Retrieval] = field(default_factory=dict)
    keys: tuple[CallerKey, ...] = ()
    admin: Admin | None = None
