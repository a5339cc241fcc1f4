"""``headgate cache purge``: forget answers in the store that the gateways share."""

from __future__ import annotations

from collections.abc import Sequence

from app.config.settings import Settings
from cache.answers.shared_tier import Responses
from cache.store.opening import open_store

COMMAND_TIMEOUT = 5.0  # seconds a command may take: nobody's request waits behind this one
EVERYBODY = ""  # what a `scope: global` shares


async def purge(
    settings: Settings, tenants: Sequence[str], alias: str | None, namespace: str | None
) -> None:
    """Purge these tenants' answers, all or those of a model or namespace.

    Raises StoreUnavailable.
    """
    where = settings.cache_store or settings.store
    store = open_store(where.url.reveal(), COMMAND_TIMEOUT)
    try:
        responses = Responses(store, 0)
        try:
            for tenant in tenants:
                await responses.purge(tenant, alias, namespace)
        finally:
            await responses.purges_done()  # also for those before one that failed
    finally:
        await store.aclose()
