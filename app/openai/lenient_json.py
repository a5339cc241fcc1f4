"""JSON as upstreams write it: what a Python server lets slip is put right instead of refused.

Python's own encoder writes NaN and infinities bare, which no parser of ours or of our callers
takes, and escapes half of a surrogate pair where a token ends inside a character. Pure.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

# Python's decoder takes about 15 ms a MiB, twice that again for surrogates, and everybody waits.
MAX_LENIENT_BYTES = 8 << 20

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # a whole pair is one character after decoding
_decode = json.JSONDecoder(parse_constant=lambda _: None).decode


class NotJson(ValueError):
    """These bytes cannot be read, with all lenience."""


def decode(data: bytes) -> Any:
    """The value in ``data``; NaN and infinities are None, half a surrogate pair is U+FFFD.

    Raises NotJson, also for more than MAX_LENIENT_BYTES that are not strict JSON.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return _lenient(data)


def _lenient(data: bytes) -> Any:
    if len(data) > MAX_LENIENT_BYTES:
        raise NotJson
    try:
        value = _decode(data.decode())
        if b"\\ud" in data or b"\\uD" in data:
            text = json.dumps(value, ensure_ascii=False)
            value = orjson.loads(_LONE_SURROGATE.sub("\ufffd", text))
    except (ValueError, RecursionError):
        raise NotJson from None
    return value
