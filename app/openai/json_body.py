"""One JSON object, decoded strictly: what two parsers could read in two ways is refused.

Besides plain syntax errors, this refuses duplicate members (parsers differ on which one counts),
NaN and infinities, lone surrogates, invalid UTF-8, a byte order mark, deep nesting, and, before
anything is decoded, more parts than any request needs.
Source: RFC 8259 sections 4, 8.1 and 8.2; RFC 7493 (I-JSON).
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import orjson

MAX_DEPTH = 100
# What decoding and checking cost is in strings, lists and objects, and far less in numbers: a
# mebibyte of token ids is a request as it should be, a mebibyte of empty lists is an attack.
MAX_PARTS = 50_000
MAX_COMMAS = 1_000_000
SMALL_BYTES = 16 << 10  # no body of this size can hold too many

_members_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items_of = msgspec.json.Decoder(list[msgspec.Raw]).decode


class NotStrictJson(ValueError):
    """The text says what is wrong with the body, for the person who sent it."""


def decode_object(body: bytes) -> dict[str, Any]:
    """The object in ``body``.

    Raises NotStrictJson.
    """
    if len(body) > SMALL_BYTES and (_too_many(body) and _too_many(_without_strings(body))):
        raise NotStrictJson(
            f"The body holds more than {MAX_PARTS} strings, lists and objects, "
            f"or {MAX_COMMAS} values."
        )
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotStrictJson(f"The body is not valid JSON: {error}") from None
    if type(document) is not dict:
        raise NotStrictJson("The body must be a JSON object.")
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _deeper_than(document, MAX_DEPTH):
        raise NotStrictJson(f"The body is nested deeper than {MAX_DEPTH} levels.")
    # A duplicate is lost in decoding, and its colon with it; nothing else changes their number.
    # An escaped colon would upset the count, so such a body is looked at name by name.
    same = orjson.dumps(document).count(b":") == body.count(b":")
    if not same or b"\\u003a" in body or b"\\u003A" in body:
        _refuse_duplicates(body)
    return document


def raw_members(body: bytes) -> dict[str, msgspec.Raw]:
    """The members of an object as the bytes that stand in ``body`` (already decoded once).

    Numbers keep every digit and strings their escapes, so a member can be forwarded untouched.
    """
    return _members_of(body)


def raw_items(array: bytes) -> list[msgspec.Raw]:
    """The items of an array as the bytes that stand there."""
    return _items_of(array)


def _too_many(body: bytes) -> bool:
    count = body.count
    return count(b"[") + count(b"{") + count(b'"') // 2 > MAX_PARTS or count(b",") > MAX_COMMAS


def _without_strings(body: bytes) -> bytes:
    """What stands between the strings, each of them as one empty string."""
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if plain.count(b'"') // 2 > MAX_PARTS:
        return plain  # as good as split: it is too many
    return b'""'.join(plain.split(b'"')[::2])


def _deeper_than(value: Any, limit: int) -> bool:
    level: list[Any] = [value]
    for _ in range(limit):
        inner: list[Any] = []
        for node in level:
            children = node.values() if type(node) is dict else node
            inner.extend(child for child in children if type(child) in (dict, list))
        if not inner:
            return False
        level = inner
    return True


def _refuse_duplicates(body: bytes) -> None:
    def unique(pairs: list[tuple[str, Any]]) -> None:
        names = set()
        for name, _ in pairs:
            if name in names:
                raise NotStrictJson(f"The body has the member {name!r} twice in one object.")
            names.add(name)

    json.loads(body, object_pairs_hook=unique, parse_int=str, parse_float=str)
