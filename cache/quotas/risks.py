"""What in a server's settings lets it forget money."""

from __future__ import annotations

from typing import Any, NamedTuple

from cache.store.base import Store, StoreUnavailable


class Risks(NamedTuple):
    """``evicts`` is the policy by which it may forget anything; both are falsy where all is well.

    What a server does not say counts as well: managed ones forbid CONFIG, and a cluster's client
    does not ask for it.
    """

    evicts: str = ""
    forgets: bool = False  # a restart: it keeps neither an append-only file nor snapshots


async def risks_of(store: Store) -> Risks:
    """Ask a server for its settings; of a cluster, one node. Raises StoreUnavailable."""
    memory = _facts(await store.command("INFO", "memory"))
    persistence = _facts(await store.command("INFO", "persistence"))
    policy = memory.get("maxmemory_policy", "")
    bounded = memory.get("maxmemory", "0") != "0"
    return Risks(
        policy if bounded and policy.startswith("allkeys") else "",
        persistence.get("aof_enabled") == "0" and await _snapshots(store) == "",
    )


async def _snapshots(store: Store) -> str | None:
    """The setting ``save``; None where it cannot be known."""
    try:
        answer = await store.command("CONFIG", "GET", "save")
    except StoreUnavailable:
        raise
    except Exception:  # noqa: BLE001 - every service words its refusal in its own way
        return None
    if isinstance(answer, dict):
        return _text(answer.get("save"))
    return _text(answer[1]) if len(answer) == 2 else None


def _facts(info: Any) -> dict[str, str]:
    """The lines of an INFO section; a cluster's client has read them already."""
    if isinstance(info, dict):
        return {str(name): str(value) for name, value in info.items()}
    lines = info.decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
