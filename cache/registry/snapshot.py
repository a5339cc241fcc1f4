"""A worker's copy of the operators' objects. Pure: nothing here asks the store."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from typing import NamedTuple

import orjson

from cache.registry.objects import KINDS, Stored


class Found(NamedTuple):
    """The key that a secret opens, until ``until`` (unix seconds) where the secret is on its way out."""

    id: str
    stored: Stored
    until: float | None


class Snapshot:
    """Objects by kind and id, and keys by the digests of their secrets."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, Stored]] = {kind: {} for kind in KINDS}
        self._digests: dict[bytes, tuple[bytes, str, float | None]] = {}

    def __len__(self) -> int:
        return sum(len(objects) for objects in self._objects.values())

    def get(self, kind: str, id: str) -> Stored | None:
        """One object."""
        return self._objects[kind].get(id)

    def of(self, kind: str) -> Iterator[tuple[str, Stored]]:
        """Every object of a kind; they may change while this is read in steps."""
        return iter(list(self._objects[kind].items()))

    def ids(self, kind: str) -> set[str]:
        return set(self._objects[kind])

    def find(self, digest: bytes) -> Found | None:
        """The key whose secret has this digest, compared in constant time."""
        known = self._digests.get(digest)
        if known is None or not hmac.compare_digest(known[0], digest):
            return None
        _, name, until = known
        return Found(name, self._objects["keys"][name], until)

    def put(self, kind: str, id: str, stored: Stored | None) -> bool:
        """Take an object as it is now, None where it is gone; whether that is news.

        An older revision than what is known is none, because two reads may arrive in either order.
        """
        objects = self._objects[kind]
        known = objects.get(id)
        if known is None and stored is None:
            return False
        if known is not None and stored is not None and stored.revision <= known.revision:
            return False
        if kind == "keys" and known is not None:
            for digest, _ in digests_in(known):
                self._digests.pop(digest, None)
        if stored is None:
            del objects[id]
            return True
        objects[id] = stored
        if kind == "keys":
            for digest, until in digests_in(stored):
                self._digests[digest] = (digest, id, until)
        return True


def digests_in(stored: Stored) -> list[tuple[bytes, float | None]]:
    """The digests of a key's secrets, each with the moment at which it ends, if it does."""
    secrets = orjson.loads(stored.document)["secrets"]
    return [(bytes.fromhex(one["sha256"]), one.get("until")) for one in secrets]
