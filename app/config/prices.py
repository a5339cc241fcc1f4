"""What a target's tokens cost: the configuration's word, else genai-prices' data."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from app.config.providers import HttpProvider, base_url_of
from app.config.settings import Dollars, Model, RemoteEncoder, Settings, Target
from app.core.pricing import Price, nano_dollars

FREE = Price(0, 0)


def price_of(model: Model, settings: Settings, target: Target | None = None) -> Price | None:
    """The price of a model's target, the first where none is named; None where nobody knows one.

    The target's own setting goes before the model's. The simulator is free.
    """
    target = target or model.targets[0]
    said = target.price or model.price
    if said is not None:
        return Price(
            nano_dollars(said.input_per_million),
            nano_dollars(said.output_per_million),
            _written(said.cached_input_per_million),
            _written(said.cache_write_per_million),
            _written(said.reasoning_per_million),
        )
    provider = settings.providers.get(target.provider)
    if not isinstance(provider, HttpProvider):
        return FREE
    return _published(target.model, base_url_of(provider))


def encoder_price(encoder: RemoteEncoder, settings: Settings) -> Price | None:
    """The price of an encoder behind a network; None where nobody knows one."""
    if encoder.price_per_million is not None:
        return Price(nano_dollars(encoder.price_per_million), 0)
    provider = settings.providers.get(encoder.provider)
    if not isinstance(provider, HttpProvider):
        return FREE
    return _published(encoder.model, base_url_of(provider))


@lru_cache(maxsize=4096)
def _published(model: str, base_url: str) -> Price | None:
    """What a provider, known by its address, publishes for a model."""
    if not base_url.startswith("https://"):
        return None  # nobody's public API; a server of one's own may use any model's name
    return _found(model, base_url)


def price_anywhere(model: str) -> Price | None:
    """What some provider publishes for a model of this name, where nothing else is known of it."""
    return _found(model, None)


def _found(model: str, base_url: str | None) -> Price | None:
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - 20 ms, rarely needed

    try:
        _, found = get_snapshot().find_provider_model(model, None, None, base_url)
    except LookupError:
        return None
    prices = found.get_prices(datetime.now(UTC))
    output = prices.output_mtok
    if output is None and "embed" in found.id:
        output = Decimal(0)  # it generates nothing
    if prices.input_mtok is None or output is None:
        return None
    return Price(
        nano_dollars(_highest(prices.input_mtok)),
        nano_dollars(_highest(output)),
        _published_for(prices.cache_read_mtok),
        _published_for(prices.cache_write_mtok),
    )


def _written(dollars: Dollars | None) -> int | None:
    return None if dollars is None else nano_dollars(dollars)


def _published_for(price: Any) -> int | None:
    """The price of tokens that are charged apart; None where they cost what others do."""
    return None if price is None else nano_dollars(_highest(price))


def _highest(price: Any) -> Decimal:
    """A price, or the highest of its tiers: a bound must hold for long prompts too."""
    if isinstance(price, Decimal | int | float):
        return Decimal(str(price))
    tiers = [Decimal(str(tier.price)) for tier in price.tiers]
    return max([Decimal(str(price.base)), *tiers])
