"""``headgate doctor``: looks at what a configuration depends on, and names the cure."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from time import time
from typing import Any

from app.commands.provider_probe import Finding, look_at_providers
from app.config.providers import HttpProvider
from app.config.settings import Settings
from app.config.settings import Store as StoreSettings
from cache.quotas.risks import risks_of
from cache.store.base import CommandRefused, Store, StoreUnavailable
from cache.store.clock import time_of
from cache.store.opening import open_store

STORE_SECONDS = 5.0  # nobody's request waits behind this command
SLOW_SHARE = 0.2  # of `store.timeout`, for one question when nothing else is asked
CLOCK_SECONDS = 2.0
SPARE_DESCRIPTORS = 256  # for listeners, logs, the store and DNS
OLDEST_REDIS = 7


async def examine(settings: Settings) -> list[Finding]:
    """Everything that can be looked at from here."""
    found = list(look_at_system(settings))
    paying = [key.budget for key in settings.keys] + [t.budget for t in settings.tenants.values()]
    found += await look_at_store(settings.store, "store", has_budgets=any(paying))
    if settings.cache_store is not None:
        own = StoreSettings(url=settings.cache_store.url, timeout=settings.cache_store.timeout)
        found += await look_at_store(own, "cache_store", has_budgets=False)
    return [*found, *await asyncio.to_thread(look_at_providers, settings)]


def look_at_system(settings: Settings) -> Iterator[Finding]:
    """File descriptors and processors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = settings.server
    upstream = sum(
        provider.max_connections
        for provider in settings.providers.values()
        if isinstance(provider, HttpProvider)
    )
    wanted = server.max_connections + upstream + SPARE_DESCRIPTORS
    seen = f"{soft:,} file descriptors a process; `max_connections` here and upstream may use {wanted:,}"
    if soft >= wanted:
        yield Finding("ok", "file descriptors", seen)
    else:
        raised = f"ulimit -n {wanted}" if hard >= wanted else f"LimitNOFILE={wanted} in the unit"
        yield Finding("warn", "file descriptors", seen, f"{raised}, or lower `max_connections`")
    cores = len(os.sched_getaffinity(0))
    seen = f"{server.workers} for {cores} cores"
    if server.workers > cores:
        yield Finding("warn", "workers", seen, f"set `server.workers` to {cores} at most")
    else:
        yield Finding("ok", "workers", seen)


async def look_at_store(settings: StoreSettings, place: str, *, has_budgets: bool) -> list[Finding]:
    """Whether the store answers, how soon, with which clock, and whether it keeps what counts."""
    url = settings.url.reveal()
    if url.startswith("memory:"):
        cure = "fine for one process; set `store.url` to redis://… for more, or to keep budgets"
        return [
            Finding(
                "warn" if has_budgets else "ok", place, "memory://, gone with the process", cure
            )
        ]
    store = open_store(url, STORE_SECONDS)
    try:
        began = time()
        told = await time_of(store)  # connects
        asked = time()
        await time_of(store)
        return [
            *_speed(place, time() - asked, float(settings.timeout)),
            *_clock(place, told - (began + asked) / 2, asked - began),
            *await _server(store, place),
            *await _keeping(store, place, has_budgets),
        ]
    except (StoreUnavailable, CommandRefused) as error:
        said = getattr(error, "detail", "") or str(error)
        return [Finding("bad", place, said, _store_cure(said))]
    finally:
        await store.aclose()


def _speed(place: str, seconds: float, timeout: float) -> Iterator[Finding]:
    seen = f"answers in {seconds * 1000:.1f} ms; `timeout` is {timeout * 1000:.0f} ms"
    if seconds > timeout * SLOW_SHARE:
        yield Finding("warn", place, seen, "move it nearer, or raise `timeout`")
    else:
        yield Finding("ok", place, seen)


def _clock(place: str, offset: float, doubt: float) -> Iterator[Finding]:
    seen = f"its clock is {abs(offset):.1f} s {'before' if offset > 0 else 'behind'} this machine's"
    if abs(offset) > CLOCK_SECONDS + doubt:
        cure = "budgets and limits go by the store's clock: run NTP there"
        yield Finding("warn", f"{place} clock", seen, cure)
    else:
        yield Finding("ok", f"{place} clock", "agrees with this machine's")


async def _server(store: Store, place: str) -> list[Finding]:
    with suppress(CommandRefused):
        version = _field(await store.command("INFO", "server"), "redis_version")
        old = version and int(version.partition(".")[0]) < OLDEST_REDIS
        cure = f"Headgate needs Redis {OLDEST_REDIS} or newer" if old else ""
        return [Finding("bad" if old else "ok", place, f"Redis {version}", cure)]
    return []


async def _keeping(store: Store, place: str, has_budgets: bool) -> list[Finding]:
    risks = await risks_of(store)
    found = []
    state = "bad" if has_budgets else "warn"
    if risks.evicts:
        seen = f"maxmemory-policy {risks.evicts} may forget what was spent"
        found.append(Finding(state, f"{place} eviction", seen, "set maxmemory-policy noeviction"))
    if risks.forgets:
        seen = "a restart forgets what was spent: neither an append-only file nor snapshots"
        found.append(Finding(state, f"{place} persistence", seen, "set appendonly yes"))
    return found or [Finding("ok", f"{place} persistence", "keeps what was spent")]


def _field(info: Any, name: str) -> str:
    if isinstance(info, dict):
        return str(info.get(name, ""))
    text = info.decode(errors="replace") if isinstance(info, bytes) else str(info)
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for key, _, value in lines if key == name), "")


def _store_cure(said: str) -> str:
    if "password" in said:
        return "write the password into `store.url`: redis://:PASSWORD@host:6379"
    if "resolved" in said:
        return "correct the host's name in `store.url`"
    if "secure connection" in said:
        return "a Redis without TLS is redis:// and not rediss://; `?ssl_ca_certs=FILE` trusts one"
    if "no answer" in said:
        return "is it a Redis, and does it speak TLS where `store.url` says rediss://?"
    if "refused" in said:
        return "start Redis there, or correct `store.url`"
    return "is it a Redis that answers there? `store.url` names the address"
