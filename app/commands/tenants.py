"""Whose there is something in the store: the file's tenants, and those that operators made since."""

from __future__ import annotations

import asyncio

from app.commands.files import fail
from app.config.settings import Settings

COMMAND_TIMEOUT = 5.0  # seconds a command may take: nobody's request waits behind this one
PAGE = 500


def every_tenant(settings: Settings) -> list[str]:
    """All tenants by name; ends with 1 where the store must be asked and cannot be reached."""
    of_file = sorted(settings.tenants)
    url = settings.store.url.reveal()
    if settings.admin is None or url.startswith("memory:"):
        return of_file
    from cache.store.base import StoreUnavailable  # noqa: PLC0415 - needs redis, others do not

    try:
        return sorted({*of_file, *asyncio.run(_made(url))})
    except StoreUnavailable as error:
        fail(f"the store cannot be reached: {error.detail}")


async def _made(url: str) -> list[str]:
    from cache.registry.objects import Objects  # noqa: PLC0415
    from cache.store.opening import open_store  # noqa: PLC0415

    store = open_store(url, COMMAND_TIMEOUT)
    try:
        objects, found = Objects(store), list[str]()
        while page := await objects.page("tenants", found[-1] if found else "", PAGE):
            found += [name for name, _ in page]
        return found
    finally:
        await store.aclose()
