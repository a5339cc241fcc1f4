"""JSON values as bytes that say how long they are, so that no value can pass for another.

docs/fingerprint.md defines them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from functools import lru_cache
from typing import Any

import msgspec
import orjson

Raw = msgspec.Raw | bytes | memoryview

_CACHED_NUMBER = 32  # bytes of text; longer ones would let callers fill the memory
_PLAIN_EXPONENT = 18  # digits; Python refuses to read thousands, and reads many slowly


def member(value: Any, raw: Raw) -> bytes:
    """A member's value; ``raw`` is its text, which is exact where a float is not."""
    kind = type(value)
    if kind is int or kind is float:
        return number(bytes(raw))
    if kind is str:
        return string(value)
    if kind is dict or kind is list:
        return nested(raw)
    return b"N" if value is None else b"T" if value else b"F"


def token_ids(ids: list[int]) -> bytes:
    """A prompt of token ids."""
    written = orjson.dumps(ids)[1:-1]
    return b"I%d:%b" % (len(written), written)


class Defaults:
    """The members of a family that are always there, by name, in the order of their names."""

    def __init__(self, values: Mapping[str, bytes]) -> None:
        self.names = {name: string(name) for name in sorted(values)}
        self.pairs = {name: encoded + values[name] for name, encoded in self.names.items()}

    def named(self, name: str, value: bytes) -> bytes:
        """A member: its name and its value."""
        return (self.names.get(name) or string(name)) + value

    def whole(self, pairs: Mapping[str, bytes]) -> bytes:
        """The object of the members; ``pairs`` are the defaults, some replaced, and others."""
        # Text sorts by code point, which is the order of its UTF-8 bytes.
        plain = len(pairs) == len(self.pairs)
        ordered = pairs.values() if plain else [pairs[name] for name in sorted(pairs)]
        return b"O%d:%b" % (len(pairs), b"".join(ordered))


def nested(raw: Raw) -> bytes:
    """A list or an object, from its own text, because only that has the exact numbers."""
    return value_of(decoded(raw))


def decoded(raw: Raw) -> Any:
    """A list or an object, its numbers encoded as they were read."""
    return _exact(bytes(raw).decode())


def value_of(value: Any) -> bytes:
    """A value as ``decoded`` gives it."""
    kind = type(value)
    if kind is str:
        return string(value)
    if kind is bytes:  # a number, encoded as it was read
        return value  # type: ignore[no-any-return]
    if kind is list:
        return array([value_of(item) for item in value])
    if kind is dict:
        pairs = [string(name) + value_of(value[name]) for name in sorted(value)]
        return b"O%d:%b" % (len(pairs), b"".join(pairs))
    return b"N" if value is None else b"T" if value else b"F"


def string(text: str) -> bytes:
    """A text."""
    return encoded(text.encode())


def encoded(text: bytes) -> bytes:
    """A text that is encoded already."""
    return b"S%d:%b" % (len(text), text)


def array(items: list[bytes]) -> bytes:
    """A list of values."""
    return b"A%d:%b" % (len(items), b"".join(items))


def number(text: bytes) -> bytes:
    """A number, from its text."""
    return _short_number(text) if len(text) <= _CACHED_NUMBER else _any_number(text)


def _any_number(text: bytes) -> bytes:
    """A JSON number by its exact decimal value, whatever its size: the text is all that is read."""
    mantissa, _, exponent = text.lower().partition(b"e")
    whole, _, fraction = mantissa.lstrip(b"-").partition(b".")
    digits = (whole + fraction).lstrip(b"0")
    significant = digits.rstrip(b"0")
    if not significant:
        return b"D1:0"
    moved = _sum(exponent, len(digits) - len(significant) - len(fraction))
    sign = b"-" if mantissa.startswith(b"-") else b""
    canonical = sign + significant + (b"" if moved == b"0" else b"e" + moved)
    return b"D%d:%b" % (len(canonical), canonical)


_short_number = lru_cache(4096)(_any_number)


def _sum(exponent: bytes, shift: int) -> bytes:
    """An exponent of any length plus a shift."""
    if len(exponent) <= _PLAIN_EXPONENT:
        return b"%d" % (int(exponent or b"0") + shift)
    context = Context(prec=len(exponent) + _PLAIN_EXPONENT, Emax=MAX_EMAX, Emin=MIN_EMIN)
    return format(context.add(Decimal(exponent.decode()), Decimal(shift)), "f").encode()


def _number_in_text(text: str) -> bytes:
    return number(text.encode())


_exact = json.JSONDecoder(parse_int=_number_in_text, parse_float=_number_in_text).decode
