"""Opening a store by its URL."""

from __future__ import annotations

from cache.store.base import Store


def open_store(url: str, timeout: float) -> Store:
    """The store behind a URL, not yet started; it need not be there yet. ``timeout`` is seconds per command.

    ``memory://`` is embedded and lives as long as this process; ``redis://``, ``rediss://``,
    ``unix://``, ``redis+sentinel://host:port,…/service[/db]`` and ``redis+cluster://host:port``
    are shared. Raises ValueError for any other.
    """
    if url.startswith("memory:"):
        from cache.store.embedded import EmbeddedStore  # noqa: PLC0415 - heavy, and only here

        return EmbeddedStore()
    from cache.store.redis_store import RedisStore  # noqa: PLC0415
    from cache.store.redis_urls import dial_for, where_is  # noqa: PLC0415

    return RedisStore(dial_for(url), timeout, where_is(url))
