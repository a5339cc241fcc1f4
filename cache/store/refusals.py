"""What a server's error means for us, by its words: one table for every kind of store."""

from __future__ import annotations

from cache.store.base import CommandRefused, StoreFull, StoreUnavailable, UnknownCommand

# The server cannot do it now, whatever is asked.
_UNAVAILABLE = frozenset(
    {"READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MISCONF", "NOREPLICAS", "BUSY",
     "NOAUTH", "NOPERM", "TRYAGAIN", "MOVED", "ASK"}
)  # fmt: skip

# It has no such command, or none that a script may call. After ``ERR``, which clients may drop.
_UNKNOWN = ("unknown command", "unknown redis command")

_ARGUMENTS = ", with args"  # from here on an error repeats what was sent


def meaning_of(answer: Exception) -> StoreUnavailable | CommandRefused:
    """The error to raise for a server's; StoreUnavailable carries the server's word."""
    text = str(answer)
    word = text.partition(" ")[0]
    if word == "OOM":
        return StoreFull(word)
    if word in _UNAVAILABLE:
        return StoreUnavailable(word)
    said = text.partition(_ARGUMENTS)[0]
    if text.removeprefix("ERR ").lower().startswith(_UNKNOWN):
        return UnknownCommand(said)
    return CommandRefused(said)
