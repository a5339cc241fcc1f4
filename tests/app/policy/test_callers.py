"""Keys made at run time as values: what they may do, and what becomes of them when the file changes."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from app.config.loading import load
from app.core.errors import GatewayError
from app.core.keys import Key, digest_of
from app.policy.callers import Callers
from app.policy.limits_and_budgets import Policies
from cache.registry.objects import Stored
from cache.registry.registry import Registry
from cache.store.embedded import EmbeddedStore

SECRET = b"hg-made-0123456789abcdef"
FILE = """
server: {management: {port: 9090}}
admin: {}
providers: {up: {kind: openai, base_url: "http://127.0.0.1:9/v1"}}
models:
  priced: {targets: [{provider: up, model: a}], price: {input_per_million: 1, output_per_million: 1}}
  free: {targets: [{provider: up, model: nobody-sells-this}]}
limits: {slow: {requests_per_minute: 2}}
budgets: {small: {usd: 1, per: day}}
tenants: {acme: {}}
keys: [{id: filed, tenant: acme, secret: hg-filed-0123456789abcdef}]
"""


def callers_of(
    text: str = FILE, registry: Registry | None = None, now: float = 0.0
) -> tuple[Callers, Registry]:
    settings = load(text, "test").settings
    registry = registry or Registry(EmbeddedStore())
    registry.whole = True
    return Callers(settings, registry, Policies(settings), lambda: now), registry


def put(registry: Registry, kind: str, name: str, revision: int = 1, **more: Any) -> None:
    """An object as it comes from the store."""
    secrets = [{"sha256": digest_of(SECRET.decode()).hex(), "until": more.pop("until", None)}]
    document = {"spec": more.pop("spec", {}), "blocked": False, "secrets": secrets} | more
    registry.snapshot.put(kind, name, Stored(revision, orjson.dumps(document)))


def answer(callers: Callers) -> Key | GatewayError:
    """What the secret opens, or why it opens nothing."""
    return callers.find(SECRET) or asyncio.run(callers.unknown(SECRET))


def code(found: Key | GatewayError) -> str | None:
    return found.code if isinstance(found, GatewayError) else None


def test_a_key_has_what_it_names() -> None:
    callers, registry = callers_of()
    put(registry, "keys", "web", spec={"tenant": "acme", "limits": "slow", "models": ["pri*"]})
    key = callers.find(SECRET)
    assert key is not None
    assert (key.id, key.tenant, key.models) == ("web", "acme", frozenset({"priced"}))
    assert key.limits is not None
    assert callers.find(SECRET) is key  # made once


def test_a_changed_key_is_another_value() -> None:
    callers, registry = callers_of()
    put(registry, "keys", "web", spec={"tenant": "acme"})
    before = callers.find(SECRET)
    put(registry, "keys", "web", 2, spec={"tenant": "acme", "limits": "slow"})
    after = callers.find(SECRET)
    assert before is not None
    assert after is not None
    assert (before.limits, after.limits is not None) == (None, True)


def test_who_has_a_budget_may_use_what_has_a_price() -> None:
    callers, registry = callers_of()
    put(registry, "keys", "web", spec={"tenant": "acme", "budget": "small"})
    key = callers.find(SECRET)
    assert key is not None
    assert key.models == {"priced"}


def test_a_key_that_names_what_is_gone_is_refused_and_not_left_without_a_limit() -> None:
    for spec in (
        {"tenant": "nobody"},
        {"tenant": "acme", "limits": "gone"},
        {"tenant": "acme", "budget": "gone"},
    ):
        callers, registry = callers_of()
        put(registry, "keys", "web", spec=spec)
        assert code(answer(callers)) == "key_unusable"


def test_a_tenant_that_names_what_is_gone_takes_its_keys_along() -> None:
    callers, registry = callers_of()
    put(registry, "tenants", "made", spec={"limits": "gone"})
    put(registry, "keys", "web", spec={"tenant": "made"})
    callers.policies_changed()
    assert code(answer(callers)) == "key_unusable"
    put(registry, "limits", "gone", spec={"concurrent": 5})
    callers.policies_changed()
    assert isinstance(answer(callers), Key)


def test_the_files_key_hides_one_of_its_id() -> None:
    callers, registry = callers_of()
    put(registry, "keys", "filed", spec={"tenant": "acme"})
    assert code(answer(callers)) == "invalid_api_key"
    without, _ = callers_of(FILE.replace("id: filed", "id: other"), registry)
    assert isinstance(answer(without), Key)


def test_blocked_over_and_unknown_are_told_apart() -> None:
    callers, registry = callers_of(now=100.0)
    assert code(answer(callers)) == "invalid_api_key"
    put(registry, "keys", "web", spec={"tenant": "acme"}, until=200.0)
    assert isinstance(answer(callers), Key)
    put(registry, "keys", "web", 2, spec={"tenant": "acme"}, until=99.0)
    assert code(answer(callers)) == "expired_api_key"
    put(registry, "keys", "web", 3, spec={"tenant": "acme"}, blocked=True)
    assert code(answer(callers)) == "blocked_api_key"


def test_before_all_keys_are_read_an_unknown_one_is_not_called_wrong() -> None:
    callers, registry = callers_of()
    registry.whole = False

    async def nothing(_: bytes) -> None:
        return None

    registry.look_up = nothing  # type: ignore[method-assign]
    assert code(answer(callers)) == "store_unavailable"


def test_a_tenant_of_the_file_stays_as_the_file_has_it() -> None:
    callers, registry = callers_of()
    put(registry, "tenants", "acme", spec={"limits": "slow"})
    callers.policies_changed()
    assert callers.settings.tenants["acme"].limits is None
