"""One spelling for every record, so that its hash can be computed again by anybody.

The form is RFC 8785 (JSON Canonicalization Scheme). A record holds texts, whole numbers that a
double can hold, booleans, null, lists, and mappings whose names are ASCII: for those orjson with
sorted keys writes exactly that form. Fractions are where it differs, so there are none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

MAX_INTEGER = 2**53 - 1  # RFC 7493: what every reader of JSON can hold exactly
NO_DIGEST = "0" * 64  # what the first record of a chain names as the one before it

Record = dict[str, Any]


def canonical(record: Mapping[str, Any]) -> bytes:
    """The record's bytes. Raises TypeError where a text holds half a character."""
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS)


def digest(line: bytes) -> str:
    """The SHA-256 by which the next record names this one; ``line`` without its end."""
    return hashlib.sha256(line).hexdigest()


def plain(value: Any) -> Any:
    """A value as a record may hold it: what is no text, whole number or list of them is its text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, int):
        return value if -MAX_INTEGER <= value <= MAX_INTEGER else str(value)
    if isinstance(value, Mapping):
        return {_name(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return plain(str(value))


def _name(name: Any) -> str:
    return str(name).encode("ascii", "backslashreplace").decode()
