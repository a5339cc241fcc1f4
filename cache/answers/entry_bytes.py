"""Cache entries as bytes in the store: bound to the name under which they stand, and encrypted
where there are keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache.answers import entry as stored_answer
from cache.answers.entry import CacheEntry, Undecodable

if TYPE_CHECKING:
    from cache.store.sealing import Seal

_SEALED = b"aes-gcm1\n"  # where the checksum stands in an entry that is not encrypted


class Entries:
    """Encodes and decodes entries. With a ``seal`` all are encrypted, and no others are read:
    whoever could write one without the key could answer in our name.

    What the scripts read (asked, stored, fresh, policy) stays in clear, and is authenticated.
    """

    def __init__(self, seal: Seal | None = None) -> None:
        self._seal = seal

    def encode(self, name: str, answer: CacheEntry) -> bytes:
        """The bytes to keep under this name."""
        plain = stored_answer.encode(answer, name)
        if self._seal is None:
            return plain
        policy = b',"%b"' % answer.policy.encode() if answer.policy else b""
        clear = b"[%d,%d,%d,0%b]\n" % (answer.asked, answer.stored, answer.fresh, policy)
        return clear + _SEALED + self._seal.close(plain, _place(name, clear))

    def decode(self, name: str, data: bytes) -> CacheEntry:
        """The answer in the bytes that stand under this name. Raises Undecodable."""
        if self._seal is None:
            return stored_answer.decode(data, name)
        line, _, rest = data.partition(b"\n")
        if not rest.startswith(_SEALED):
            raise Undecodable
        clear = line + b"\n"
        try:
            plain = self._seal.open(rest[len(_SEALED) :], _place(name, clear))
        except ValueError:
            raise Undecodable from None
        return stored_answer.decode(plain, name)


def _place(name: str, clear: bytes) -> bytes:
    return name.encode() + b"\n" + clear
