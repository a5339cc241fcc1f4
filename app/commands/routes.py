"""`headgate routes`: whom a request would go to, in which order, and why others are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import time
from typing import Any

import orjson

from app.chain.model_chain import FAMILIES, PATHS
from app.config.settings import Settings
from app.core.call import Call
from app.core.errors import GatewayError
from app.core.exchange import Outcome
from app.core.family import Family
from app.core.keys import Key
from app.core.pricing import dollars_text, nano_dollars
from app.policy.callers import key_ring
from app.providers.routing.routes import Alias, Route, Router
from app.providers.routing.selection import Selection, Selector
from app.providers.routing.shared_health import SharedHealth
from cache.store.opening import open_store

SAMPLE: Mapping[str, Any] = {
    "completions": {"prompt": "Hello"},
    "chat": {"messages": [{"role": "user", "content": "Hello"}]},
    "embeddings": {"input": "Hello"},
}
COLUMNS = ("", "target", "tier", "weight", "identity", "context", "usd/M in", "usd/M out", "state")


class Uncounted:
    """Counts nothing: a command is no replica."""

    def add(self, *_: object) -> None:
        return


async def explain(
    settings: Settings,
    model: str,
    key_id: str | None,
    operation: str,
    body: str,
    remaining: float | None,
) -> list[str]:
    """The lines to print. Raises ValueError where the key or the operation is not known, GatewayError
    for a request that would be refused, and StoreUnavailable."""
    members = orjson.loads(body)
    if not isinstance(members, dict):
        raise ValueError("--body: expected a JSON object")
    family = next((one for one in FAMILIES.values() if one.name == operation), None)
    if family is None:
        raise ValueError(f"there is no {operation!r}; there are {', '.join(sorted(PATHS))}")
    key = _key(settings, model, key_id)
    store = open_store(settings.store.url.reveal(), max(1.0, float(settings.store.timeout)))
    router = Router(settings)
    try:
        store.start()
        health = SharedHealth(store, time, Uncounted())
        call = _call(family, key, model, members)
        alias = router.find(call)
        assert alias is not None
        for route in alias.routes:
            health.of(route.name)
        await health.step()
        try:
            selection = Selector(health, PATHS).select(alias, call, remaining)
        except GatewayError as error:
            return [f"{model}: refused with {error.status} {error.code}: {error.message}"]
        return _lines(alias, selection, health)
    finally:
        await router.aclose()
        await store.aclose()


def _key(settings: Settings, model: str, key_id: str | None) -> Key:
    """The key of this id, or the first that may use the model."""
    for key in key_ring(settings):
        if (key_id is None and model in key.models) or key.id == key_id:
            if model in key.models:
                return key
            raise ValueError(f"the key {key_id!r} may not use {model!r}")
    if key_id is not None:
        raise ValueError(f"there is no key {key_id!r}")
    raise ValueError(f"no key may use {model!r}")


def _call(family: Family, key: Key, model: str, members: Mapping[str, Any]) -> Call:
    body = orjson.dumps({"model": model, **SAMPLE.get(family.name, {}), **members})
    return Call(
        request_id="routes",
        started=0.0,
        key=key,
        family=family,
        request=family.parse(body),
        headers={},
        header_lines=[],
        outcome=Outcome(),
        reply_headers=[],
    )


def _lines(alias: Alias, selection: Selection, health: SharedHealth) -> list[str]:
    rules = alias.routes[0].failures
    head = f"{alias.name}: pick {alias.pick}, on_timeout {rules.on_timeout}, "
    rows = [_row(str(place), route, health) for place, route in enumerate(selection.routes, 1)]
    rows += [
        (*_row("-", one.route, health)[:-1], f"left out: {one.reason}") for one in selection.skipped
    ]
    return [f"{head}on_content_filter {rules.on_content_filter}", *_table([COLUMNS, *rows])]


def _row(place: str, route: Route, health: SharedHealth) -> tuple[str, ...]:
    one = health.of(route.name)
    state = health.phase(one).value
    if state != "closed":
        state += f", {health.reopens_in(one):.0f} s"
    elif health.ramp(one) < 1:
        state += f", {health.ramp(one):.0%} of its weight"
    price = route.price
    return (
        place,
        route.name,
        str(route.tier),
        f"{route.weight:g}",
        route.identity if route.identity != route.name else "",
        "" if route.context is None else str(route.context),
        "unknown" if price is None else dollars_text(nano_dollars(price.input / 1e9)),
        "unknown" if price is None else dollars_text(nano_dollars(price.output / 1e9)),
        state,
    )


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
