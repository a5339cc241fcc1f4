"""Keys for what is encrypted at rest: read from a configuration, and others derived from them."""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64decode
from hashlib import blake2b

KEY_BYTES = 32
_HEX = 2 * KEY_BYTES


def parse_encryption_key(text: str) -> bytes:
    """The 32 bytes that a text holds, in hexadecimal or base64 (plain or URL-safe).

    Raises ValueError saying what would be right, without repeating the text.
    """
    text = text.strip()
    try:
        if len(text) == _HEX:
            key = bytes.fromhex(text)
        elif "-" in text or "_" in text:
            key = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        else:
            key = b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError("must be 32 bytes in hexadecimal or base64; `openssl rand -hex 32`")
    return key


def derived(key: bytes, purpose: bytes, salt: bytes = b"") -> bytes:
    """Another key of 32 bytes for one purpose; it says nothing of the first.

    ``purpose`` has at most 16 bytes. BLAKE2b with a key is a pseudorandom function (RFC 7693).
    """
    return blake2b(salt, digest_size=KEY_BYTES, key=key, person=purpose).digest()
