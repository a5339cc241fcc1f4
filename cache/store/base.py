"""The way to the shared store: ``open_store(url)`` gives one, embedded or real, with one behaviour.

Commands issued in one turn of the event loop travel in one pipeline. Each has a time limit; a
breaker opens on slowness and failure, so that requests never hang on a store that is gone, and
closes by itself when a write succeeds again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from typing import Any, NamedTuple, Protocol

from app.concurrency.breaker import Breaker
from app.observability.metrics.histogram import Histogram


class StoreUnavailable(Exception):
    """The store did not do it: gone, slow, read-only, out of memory, failing over, or too busy.

    Its text is a word; ``detail`` is a sentence with the address, for operators, where one is known.
    """

    def __init__(self, reason: str = "", detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail or reason


class CommandRefused(Exception):
    """The store does not do this command: a mistake of ours, which another time does not mend."""


class UnknownCommand(CommandRefused):
    """The store does not know this command, or one that the script calls."""


class StoreFull(StoreUnavailable):
    """The server has no memory left for this; it goes on with what runs ``on_full_server``."""


class Script(NamedTuple):
    """One Lua script: its name for errors, its text, and the hash the store knows it by."""

    name: str
    text: str
    sha: str


ON_FULL_SERVER = "#!lua flags=allow-oom\n"  # Redis 7's way to say so


@cache
def script(name: str, *parts: str, on_full_server: bool = False) -> Script:
    """The script in ``cache/lua/<name>.lua``, after the functions of the files in ``parts``.

    With ``on_full_server`` it also runs where the server's memory is full: what it writes is small
    and bounded, and must not depend on how much others have written.
    """
    import hashlib  # noqa: PLC0415 - beside the only line that needs it

    folder = resources.files("cache").joinpath("lua")
    text = "".join(folder.joinpath(f"{part}.lua").read_text("utf-8") for part in (*parts, name))
    if on_full_server:
        text = ON_FULL_SERVER + text
    return Script(name, text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324 - Redis's choice


class Store(Protocol):
    """Shared state. What is waited for raises StoreUnavailable or CommandRefused.

    None waits longer than its timeout and, where many wait, its turn (cache.store.command). Only time in
    which the event loop listens counts.
    """

    breaker: Breaker
    shared: bool
    full: int  # commands refused because the server's memory is full
    trips: Histogram  # seconds of a trip; one is timed at any moment, and none in this process

    def start(self) -> None:
        """Begin to watch over the breaker; needs a running loop."""
        ...

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script atomically; answers hold bytes, integers, None and lists of them."""
        ...

    async def command(self, *args: Any) -> Any:
        """One plain command."""
        ...

    def tell(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Any],
        failed: Callable[[], None] | None = None,
    ) -> None:
        """Run a script without waiting for it; never raises, calls ``failed`` where it was not done.

        What was told is sent before ``aclose`` returns.
        """
        ...

    def publish(self, channel: str, message: bytes) -> None:
        """Send a message to whoever listens to a channel; not waited for, never raises.

        Messages of this store arrive in the order in which they were published. One that is lost in
        an outage is not sent again.
        """
        ...

    async def aclose(self) -> None: ...


async def read_counts(store: Store, key: str) -> dict[bytes, int]:
    """Every field of a hash of counts. Raises StoreUnavailable.

    HGETALL answers a list of fields and values in turn where RESP2 is spoken, else a dict.
    """
    found = await store.command("HGETALL", key)
    pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
    return {field: int(count) for field, count in pairs}
