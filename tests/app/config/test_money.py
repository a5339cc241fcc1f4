"""What `check` says of prices, budgets and the store, before a request could find out."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.config.loading import ConfigError, load
from app.config.prices import FREE, price_of
from app.config.settings import Settings
from app.config.values.store_url import SCHEMES
from app.core.pricing import Price
from app.policy.callers import key_ring
from app.policy.limits_and_budgets import Policies

SECRET = "0123456789abcdef"


def problems(text: str) -> list[str]:
    try:
        load(text, "f", {})
    except ConfigError as error:
        return error.problems
    return []


def settings_of(text: str) -> Settings:
    loaded = load(text, "f", {})
    settings = getattr(loaded, "settings", loaded)
    assert isinstance(settings, Settings)
    return settings


def config(
    *,
    price: str = "",
    key: str = "budget: small",
    tenant: str = "",
    url: str = "http://127.0.0.1:9/v1",
    model: str = "qwen",
) -> str:
    return f"""
providers:
  p: {{kind: openai, base_url: "{url}"}}
  sim: {{kind: simulator}}
models:
  house:
    targets: [{{provider: p, model: {model}}}]
    {price}
  free: {{targets: [{{provider: sim, model: simulator-1}}]}}
budgets: {{small: {{usd: 5, per: day}}}}
tenants: {{t: {{{tenant}}}}}
keys: [{{id: a, tenant: t, secret: {SECRET}, {key}}}]
"""


PRICE = "price: {input_per_million: 0.1, output_per_million: 0.3}"
NEEDED = "models.house.price"


@pytest.mark.parametrize(
    ("key", "tenant"),
    [
        ("budget: small", ""),
        ("budget: small, models: [house]", ""),
        ("budget: small, models: ['hou*']", ""),
        ("models: ['*']", "budget: small"),
        ("models: ['*']", "models: {house: {budget: small}}"),
    ],
)
def test_a_model_without_a_price_under_a_budget_is_refused(key: str, tenant: str) -> None:
    [problem] = problems(config(key=key, tenant=tenant))
    assert NEEDED in problem
    assert "'a'" in problem
    assert "input_per_million" in problem
    assert "output_per_million" in problem


@pytest.mark.parametrize(
    ("key", "tenant"),
    [
        ("budget: small, models: [free]", ""),
        ("models: ['*']", ""),
        ("models: ['*']", "models: {free: {budget: small}}"),
        ("models: [free]", "models: {house: {budget: small}}"),
        ("models: [free]", "budget: small"),
    ],
)
def test_a_model_that_no_budget_pays_for_needs_no_price(key: str, tenant: str) -> None:
    assert problems(config(key=key, tenant=tenant)) == []


def test_a_price_in_the_file_is_enough() -> None:
    text = config(price=PRICE)
    assert problems(text) == []
    settings = settings_of(text)
    assert price_of(settings.models["house"], settings) == Price(100_000_000, 300_000_000)


def test_tokens_of_a_prompt_cache_and_thoughts_may_have_prices_of_their_own() -> None:
    more = (
        "cached_input_per_million: 0.01, cache_write_per_million: 0.2, reasoning_per_million: 0.5"
    )
    settings = settings_of(config(price=PRICE.replace("}", f", {more}}}")))
    assert price_of(settings.models["house"], settings) == Price(
        100_000_000, 300_000_000, 10_000_000, 200_000_000, 500_000_000
    )


def test_published_prices_of_a_prompt_cache_are_found() -> None:
    text = config(url="https://api.anthropic.com", model="claude-sonnet-4-5")
    settings = settings_of(text)
    price = price_of(settings.models["house"], settings)
    assert price is not None
    assert price.cached_input is not None
    assert price.cache_write is not None
    assert price.cached_input < price.input < price.cache_write < price.output


def test_a_price_of_nothing_is_a_price() -> None:
    text = config(price="price: {input_per_million: 0, output_per_million: 0}")
    assert problems(text) == []


def test_the_simulator_is_free() -> None:
    settings = settings_of(config(price=PRICE))
    assert price_of(settings.models["free"], settings) == FREE


def test_a_published_price_is_found() -> None:
    text = config(url="https://api.openai.com/v1", model="gpt-4o-mini")
    assert problems(text) == []
    settings = settings_of(text)
    price = price_of(settings.models["house"], settings)
    assert price is not None
    assert 0 < price.input < price.output < 10 * 10**9


@pytest.mark.parametrize(
    ("url", "model"),
    [
        ("https://api.openai.com/v1", "no-such-model-xyz"),
        ("http://api.openai.com/v1", "gpt-4o-mini"),
        ("http://127.0.0.1:8000/v1", "gpt-4o-mini"),
        ("https://llm.example/v1", "gpt-4o-mini"),
    ],
)
def test_nobody_publishes_a_price_for_a_server_of_ones_own(url: str, model: str) -> None:
    [problem] = problems(config(url=url, model=model))
    assert NEEDED in problem


def test_the_file_overrides_what_is_published() -> None:
    settings = settings_of(config(price=PRICE, url="https://api.openai.com/v1", model="gpt-4o"))
    assert price_of(settings.models["house"], settings) == Price(100_000_000, 300_000_000)


@pytest.mark.parametrize("usd", ["9000000.01", "9007200", "1e12", ".inf"])
def test_a_budget_that_could_not_be_counted_exactly_is_refused(usd: str) -> None:
    found = problems(f"budgets: {{huge: {{usd: {usd}, per: month}}}}")
    assert len(found) == 1
    assert "budgets.huge.usd" in found[0]


@pytest.mark.parametrize("usd", ["-1", ".nan", "'five'", "null", "true"])
def test_a_budget_is_an_amount(usd: str) -> None:
    found = problems(f"budgets: {{bad: {{usd: {usd}, per: month}}}}")
    assert len(found) == 1
    assert "budgets.bad.usd" in found[0]


@pytest.mark.parametrize("usd", ["0", "0.01", "9000000"])
def test_an_amount_that_can_be_counted_is_taken(usd: str) -> None:
    assert problems(f"budgets: {{fine: {{usd: {usd}, per: month}}}}") == []


@pytest.mark.parametrize("amount", ["-0.1", ".inf", ".nan"])
def test_a_price_is_an_amount(amount: str) -> None:
    price = f"price: {{input_per_million: {amount}, output_per_million: 1}}"
    found = problems(config(price=price))
    assert len(found) == 1
    assert "models.house.price.input_per_million" in found[0]


@pytest.mark.parametrize("per", ["year", "minute", "Day", ""])
def test_a_budget_is_per_a_known_window(per: str) -> None:
    found = problems(f"budgets: {{bad: {{usd: 1, per: '{per}'}}}}")
    assert len(found) == 1
    assert "budgets.bad.per" in found[0]


@pytest.mark.parametrize("url", ["http://h", "h:6379", "postgres://h/db", "''", "mem://", "redi"])
def test_an_unknown_store_is_refused(url: str) -> None:
    found = problems(f"store: {{url: {url}}}")
    assert len(found) == 1
    assert "store.url" in found[0]
    assert all(scheme in found[0] for scheme in SCHEMES)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://h:1",  # which service?
        "redis://h:port",
        "redis://h:99999",
        "redis+sentinel://h:port/main",
        "redis+cluster://h:port",
    ],
)
def test_a_store_that_could_never_be_opened_is_refused(url: str) -> None:
    found = problems(f"store: {{url: '{url}'}}")
    assert len(found) == 1
    assert "store.url" in found[0]


@pytest.mark.parametrize(
    "url",
    [
        "memory://",
        "redis://h",
        "redis://:p@h:1/2",
        "rediss://h:1",
        "unix:///run/redis.sock",
        "redis+sentinel://a:1,b:2/main",
        "redis+cluster://h:1",
    ],
)
def test_a_known_store_is_taken(url: str) -> None:
    assert problems(f"store: {{url: '{url}'}}") == []


def test_a_plan_holds_every_budget_that_bears_on_a_request() -> None:
    text = config(
        price=PRICE, tenant="budget: small, limits: l, models: {house: {budget: small, limits: l}}"
    )
    text += "limits: {l: {requests_per_minute: 60, tokens_per_minute: 600, concurrent: 3}}\n"
    text = text.replace("budget: small}]", "budget: small, limits: l}]")
    settings = settings_of(text)
    policies = Policies(settings)

    [key] = key_ring(settings)
    house = policies.budgets(key, "house")
    free = policies.budgets(key, "free")
    assert house is not None
    assert free is not None
    assert [budget.scope for budget in house.budgets] == ["key:a", "model:house", "tenant"]
    assert [budget.scope for budget in free.budgets] == ["key:a", "tenant"]
    assert {budget.limit for budget in house.budgets} == {5 * 10**9}
    limits = policies.limits(key, "house")
    assert limits is not None
    assert [(b.scope, b.unit, b.burst) for b in limits.buckets[:2]] == [
        ("key:a", "requests", 60),
        ("key:a", "tokens", 600),
    ]
    assert [slots.scope for slots in limits.slots] == ["key:a", "model:house", "tenant"]
    assert limits.keys == tuple(dict.fromkeys(limits.keys))


def test_certificates_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    provider = "{kind: openai, base_url: 'https://h/v1', ca_file: /nowhere/ca.pem}"
    with pytest.raises(ConfigError) as told:
        load(f"providers: {{up: {provider}}}", "gw.yaml", {})
    assert "providers.up.ca_file" in told.value.problems[0]
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    with pytest.raises(ConfigError) as told:
        load(f"store: {{url: 'rediss://h?ssl_ca_certs={empty}'}}", "gw.yaml", {})
    assert "store.url" in told.value.problems[0]
