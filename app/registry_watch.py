"""Keeps a worker in step with what operators make at run time, from the first configuration that has it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from app.config.settings import Settings, Store
from app.connections.guard import Guard
from app.core.asgi import Scope
from app.core.keys import GATEWAY
from app.shared import Shared
from cache.quotas.housekeeping import Housekeeping
from cache.store import key_names as names

if TYPE_CHECKING:
    from cache.store.subscriber import Mailbox

Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


class RegistryWatch:
    """``store`` says where the store is. ``housekeeping`` sweeps the tenants of the file and those made since.

    ``guard`` ends callers' connections, where they are guarded.
    """

    def __init__(
        self, shared: Shared, housekeeping: Housekeeping, store: Store, guard: Guard | None
    ) -> None:
        self._shared = shared
        self._housekeeping = housekeeping
        self._url = store.url
        self._tenants = frozenset([GATEWAY])
        self._wanted = False
        self._run: Run | None = None
        self._guard = guard
        shared.registry.on_cut = self._end_requests
        shared.registry.watch(self)

    def serve(self, settings: Settings) -> None:
        """Go by this configuration."""
        self._wanted = self._shared.usage.notes_use = settings.admin is not None
        self._tenants = frozenset([*settings.tenants, GATEWAY])
        self.policies_changed()
        if self._run is not None:
            self.start(self._run)

    def policies_changed(self) -> None:
        """Sweep the tenants made at run time too."""
        self._housekeeping.tenants = self._tenants | self._shared.registry.snapshot.ids("tenants")

    def _end_requests(self, name: str) -> None:
        """End the requests that run under a key."""
        if self._guard is None:
            return
        running = self._shared.running
        for peer, scope in list(running.items()):
            key = scope["state"].get("key")
            if key is not None and key.id == name:
                self._guard.cut(peer, partial(_runs, running, peer, scope))

    def start(self, run: Run) -> None:
        """Begin where it is wanted; ``run`` starts a task that goes on while the worker lives."""
        self._run = run
        if not self._wanted:
            return
        self._wanted = False  # once
        registry = self._shared.registry
        if not registry.on:
            run(registry.keep_in_step)
            if self._shared.store.shared:
                run(_mailbox(self._url.reveal(), registry.received).keep_listening)


def _runs(running: Mapping[Any, Scope], peer: tuple[str, str], scope: Scope) -> bool:
    """Whether the connection still has that request, and not a later one of somebody else's."""
    return running.get(peer) is scope


def _mailbox(url: str, received: Callable[[bytes], None]) -> Mailbox:
    """Hears that something was changed."""
    from cache.store.redis_urls import finder_for  # noqa: PLC0415
    from cache.store.subscriber import Mailbox  # noqa: PLC0415 - redis-py is heavy, and only here

    return Mailbox(finder_for(url), names.OPERATORS_CHANNEL, received)
