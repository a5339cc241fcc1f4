"""What can be configured: frozen structs with their defaults, one per section of the file."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from app.config.header_names import TRACING, HeaderName
from app.config.quantities import Duration, Secret, Size
from app.core.request import DEFAULT_PART_TOKENS

Positive = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(ge=0, le=1)]
Dollars = Annotated[float, Meta(ge=0, le=9_000_000)]  # sums stay exact, see core/pricing
Capability = Literal["completions", "chat", "embeddings"]


class _Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Management(_Section, frozen=True):
    port: Annotated[int, Meta(ge=1, le=65535)]
    host: str = "127.0.0.1"


class Server(_Section, frozen=True):
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    max_body_bytes: Size = Size(1 << 20)
    body_timeout: Duration = Duration(30)
    send_timeout: Duration = Duration(60)
    max_pending_bytes: Size = Size(256 << 20)
    head_timeout: Duration = Duration(10)
    keepalive_timeout: Duration = Duration(75)
    max_connections: Annotated[int, Meta(ge=128)] = 4096
    max_connections_per_address: Positive | None = None
    trusted_proxies: tuple[str, ...] = ()
    bad_keys_per_minute: Positive = 20
    shutdown_grace: Duration = Duration(30)
    shutdown_delay: Duration = Duration(5)
    worker_timeout: Duration = Duration(15)
    management: Management | None = None


class Outage(_Section, frozen=True):
    limits: Literal["local", "allow", "refuse"] = "local"
    budgets: Literal["refuse", "allow"] = "refuse"
    cache: Literal["bypass"] = "bypass"


class Store(_Section, frozen=True):
    url: Secret = Secret("memory://")
    timeout: Duration = Duration(0.05)
    lease: Duration = Duration(60)
    optional: bool = False
    encryption_keys: tuple[Secret, ...] = ()
    on_outage: Outage = Outage()


class CacheStore(_Section, frozen=True):
    url: Secret
    timeout: Duration = Duration(0.05)


class Timeouts(_Section, frozen=True):
    connect: Duration = Duration(5)
    first_byte: Duration = Duration(60)
    idle: Duration = Duration(60)
    total: Duration = Duration(600)


class OpenAIProvider(_Section, frozen=True, tag_field="kind", tag="openai"):
    base_url: str
    api_key: Secret = Secret("")
    headers: dict[str, Secret] = {}
    timeouts: Timeouts = Timeouts()
    endpoints: tuple[Literal["completions", "chat"], ...] = ("completions", "chat")
    unsupported: tuple[str, ...] = ()
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    zero_max_tokens: Literal["forward", "refuse"] = "forward"
    forward_members: tuple[str, ...] = ("all",)
    stream_usage: bool = True
    forward_headers: tuple[HeaderName, ...] = tuple(map(HeaderName, TRACING))
    neutral_headers: tuple[HeaderName, ...] | None = None
    max_response_bytes: Size = Size(64 << 20)
    max_event_bytes: Size = Size(8 << 20)
    max_connections: Positive = 1024
    keepalive: Duration = Duration(15)
    proxy: Secret = Secret("")
    ca_file: str = ""


class SimulatorProvider(_Section, frozen=True, tag_field="kind", tag="simulator"):
    latency: Duration = Duration(0)
    tokens_per_second: Annotated[float, Meta(ge=0)] = 0
    failure_rate: Rate = 0


class Target(_Section, frozen=True):
    provider: str
    model: Annotated[str, Meta(min_length=1)]


class Price(_Section, frozen=True):
    input_per_million: Dollars
    output_per_million: Dollars


class ExactCache(_Section, frozen=True):
    enabled: bool = True
    ttl: Duration = Duration(3600)
    max_ttl: Duration | None = None
    stale_while_revalidate: Duration = Duration(0)
    stale_if_error: Duration = Duration(3600)
    max_entry: Size = Size(1 << 20)


class Verification(_Section, frozen=True):
    tier1: Rate = 0.02
    tier2: Rate = 0.05
    control: Rate = 0.02
    max_error: Rate = 0.01
    usd_per_day: Dollars = 1


class SemanticCache(_Section, frozen=True):
    enabled: bool = False
    dry_run: bool = False
    encoder: str | None = None
    threshold: Rate = 0.9
    sampled: Literal["exact", "reuse"] = "exact"
    verify: Verification = Verification()


class Cache(_Section, frozen=True):
    exact: ExactCache = ExactCache()
    semantic: SemanticCache | None = None
    normalize: Literal["none", "standard", "loose"] = "standard"
    scope: Literal["tenant", "key", "global"] = "tenant"
    sampled: Literal["reuse", "bypass"] = "reuse"
    coalesce: Literal["deterministic", "all", "off"] = "deterministic"


class PartTokens(_Section, frozen=True):
    image_low: Positive = DEFAULT_PART_TOKENS.image_low
    image_high: Positive = DEFAULT_PART_TOKENS.image_high
    image_auto: Positive = DEFAULT_PART_TOKENS.image_auto
    audio: Positive = DEFAULT_PART_TOKENS.audio
    video: Positive = DEFAULT_PART_TOKENS.video
    file: Positive = DEFAULT_PART_TOKENS.file
    other: Positive = DEFAULT_PART_TOKENS.other


class Model(_Section, frozen=True):
    targets: tuple[Target, ...]
    completions: Literal["native", "chat", "off"] = "native"
    fan_out: Annotated[int, Meta(ge=1, le=64)] = 8
    max_calls: Positive = 64
    max_output_tokens: Positive | None = None
    part_tokens: PartTokens = PartTokens()
    unknown_usage: Literal["prompt", "bound", "nothing"] = "prompt"
    price: Price | None = None
    cache: Cache | None = None


class Caching(_Section, frozen=True):
    shelf_size: Size = Size(16 << 20)
    shelf_ttl: Duration = Duration(10)
    embedded_size: Size = Size(64 << 20)
    max_bytes: Size = Size(256 << 20)
    max_bytes_per_tenant: Size | None = None


class LocalEncoder(_Section, frozen=True, tag_field="kind", tag="local"):
    pass


class RemoteEncoder(_Section, frozen=True, tag_field="kind", tag="openai"):
    provider: str
    model: Annotated[str, Meta(min_length=1)]
    timeout: Duration = Duration(0.2)


class LimitPolicy(_Section, frozen=True):
    requests_per_minute: Positive | None = None
    request_burst: Positive | None = None
    tokens_per_minute: Positive | None = None
    token_burst: Positive | None = None
    concurrent: Positive | None = None


class BudgetPolicy(_Section, frozen=True):
    usd: Dollars
    per: Literal["hour", "day", "week", "month"]


class TenantModel(_Section, frozen=True):
    limits: str | None = None
    budget: str | None = None


class Tenant(_Section, frozen=True):
    limits: str | None = None
    budget: str | None = None
    models: dict[str, TenantModel] = {}


class CallerKey(_Section, frozen=True):
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
    expires: str | None = None


class Log(_Section, frozen=True):
    format: Literal["auto", "json", "console"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
    prompts: bool = False


class Settings(_Section, frozen=True):
    """The whole file."""

    server: Server = Server()
    store: Store = Store()
    cache_store: CacheStore | None = None
    cache: Caching = Caching()
    log: Log = Log()
    providers: dict[str, OpenAIProvider | SimulatorProvider] = {}
    encoders: dict[str, LocalEncoder | RemoteEncoder] = {}
    models: dict[str, Model] = {}
    limits: dict[str, LimitPolicy] = {}
    budgets: dict[str, BudgetPolicy] = {}
    tenants: dict[str, Tenant] = {}
    keys: tuple[CallerKey, ...] = ()
