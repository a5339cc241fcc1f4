"""``memory://``: the same commands and scripts as the real store, in this process alone.

fakeredis runs them, Lua included. It is called directly: its answers take microseconds, and going
through its asyncio client would cost more than they do. For trying, tests and single instances.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from app.concurrency.breaker import Breaker
from app.observability.metrics.families import TRIP
from app.observability.metrics.histogram import Histogram
from cache.store.base import Script
from cache.store.refusals import meaning_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import fakeredis
    from redis.exceptions import ResponseError

# A server says in an error what fakeredis sometimes stumbles over (vectors of other dimensions).
_REFUSALS = (ResponseError, ValueError)


class EmbeddedStore:
    """A store that cannot be gone, slow or full; its breaker never opens."""

    shared = False

    def __init__(self) -> None:
        self.breaker = Breaker()
        self._redis = fakeredis.FakeStrictRedis(server=fakeredis.FakeServer(), version=(8,))
        self.full = 0
        self.trips = Histogram(TRIP)
        self._known: dict[str, str] = {}  # a script's hash -> the one fakeredis knows it by

    def start(self) -> None:
        return

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        return self._run(script, keys, args)

    def tell(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Any],
        failed: Callable[[], None] | None = None,  # noqa: ARG002 - it cannot fail
    ) -> None:
        self._run(script, keys, args)

    def _run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        known = self._known.get(script.sha)
        if known is None:
            # Only Redis reads flags in the first line; to Lua alone it is a mistake.
            text = f"--{script.text}" if script.text.startswith("#!") else script.text
            known = self._known[script.sha] = self._redis.script_load(text)
        try:
            return self._redis.evalsha(known, len(keys), *keys, *args)
        except _REFUSALS as error:
            raise meaning_of(error) from error

    async def command(self, *args: Any) -> Any:
        try:
            return self._redis.execute_command(*args)  # type: ignore[no-untyped-call]
        except _REFUSALS as error:
            raise meaning_of(error) from error

    def publish(self, channel: str, message: bytes) -> None:
        self._redis.publish(channel, message)

    async def aclose(self) -> None:
        self._redis.close()
