"""What is kept and said, encrypted and authenticated: AES-256-GCM under the operator's keys.

The first key encrypts, all of them decrypt, so that keys can be changed while gateways run. Each
process encrypts under a key of its own, derived from the operator's and a random salt, and counts
its messages: so no nonce is ever used twice, however much is written (NIST SP 800-38D, section 8).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from itertools import count

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.config.values.encryption_key import derived

_ID = 4  # bytes that say which of the operator's keys it was
_SALT = 16
_COUNTER = 8
_HEAD = _ID + _SALT + _COUNTER
_PURPOSE = b"headgate-seal-1"
_PROCESSES = 1024  # whose keys are remembered


class Unsealed(ValueError):
    """These bytes were not encrypted by one of our keys, or not for this place."""


class Seal:
    """Encrypts for a place: what is copied to another one cannot be read there.

    ``keys`` are 32 bytes each. May be used from several threads.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {derived(key, b"headgate-id")[:_ID]: key for key in keys}
        self._id, key = next(iter(self._keys.items()))
        self._salt = os.urandom(_SALT)
        self._own = AESGCM(derived(key, _PURPOSE, self._salt))
        self._count = count()
        self._of_process = lru_cache(_PROCESSES)(self._derive)

    def close(self, data: bytes, place: bytes) -> bytes:
        """Encrypt; ``place`` is authenticated, not kept."""
        counter = next(self._count).to_bytes(_COUNTER, "big")
        head = self._id + self._salt + counter
        return head + self._own.encrypt(_nonce(counter), data, place)

    def open(self, data: bytes, place: bytes) -> bytes:
        """What was encrypted for this place. Raises Unsealed."""
        head, sealed = data[:_HEAD], data[_HEAD:]
        if len(head) < _HEAD or head[:_ID] not in self._keys:
            raise Unsealed
        try:
            opened = self._of_process(head[:-_COUNTER])
            return opened.decrypt(_nonce(head[-_COUNTER:]), sealed, place)
        except InvalidTag:
            raise Unsealed from None

    def _derive(self, who: bytes) -> AESGCM:
        return AESGCM(derived(self._keys[who[:_ID]], _PURPOSE, who[_ID:]))


def _nonce(counter: bytes) -> bytes:
    return bytes(4) + counter
