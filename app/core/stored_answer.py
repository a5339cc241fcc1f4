"""An answer as the cache keeps it: one prompt's, whole, with what it cost and for how long it counts.

One line of JSON, then the answer's own bytes: what is sent for a plain hit stands there as it left
the gateway the first time. Large answers are compressed. Pure; times are unix milliseconds of the
store's clock.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import orjson

from app.core.usage import Usage

COMPRESSED_FROM = 4096  # bytes; below, zlib costs more time than the bytes cost room
_LEVEL = 1


class Undecodable(ValueError):
    """These bytes are no stored answer, or not a whole one."""


class Stored(NamedTuple):
    """``body`` is the plain answer to one prompt, its choices numbered from 0.

    ``asked`` is when its request looked into the cache: a purge after that moment covers it.
    Fresh until ``fresh``; until ``revalidate`` it may be served while a new one is fetched, until
    ``on_error`` where a new one cannot be had. ``cost`` is nano-dollars, what a hit saves.
    """

    body: bytes
    provider: str
    model: str
    usage: Usage
    cost: int
    asked: int
    stored: int
    fresh: int
    revalidate: int
    on_error: int

    @property
    def kept_until(self) -> int:
        """When nothing can be done with it any more."""
        return max(self.fresh, self.revalidate, self.on_error)


def encode(answer: Stored) -> bytes:
    """The bytes to keep."""
    body = answer.body
    compressed = len(body) >= COMPRESSED_FROM
    if compressed:
        body = zlib.compress(body, _LEVEL)
    usage = answer.usage
    # The script that looks entries up reads the first three numbers.
    line = [answer.asked, answer.stored, answer.fresh, answer.revalidate, answer.on_error]
    line += [usage.prompt_tokens, usage.completion_tokens, usage.estimated, answer.cost]
    head = orjson.dumps(
        [
            *line,
            len(answer.body) if compressed else 0,
            zlib.crc32(body),
            answer.provider,
            answer.model,
        ]
    )
    return head + b"\n" + body


def decode(data: bytes) -> Stored:
    """The answer in these bytes. Raises Undecodable."""
    head, _, body = data.partition(b"\n")
    try:
        (
            asked, stored, fresh, revalidate, on_error,
            prompt, completion, estimated, cost, size, checksum, provider, model,
        ) = orjson.loads(head)  # fmt: skip
    except (ValueError, TypeError):
        raise Undecodable from None
    if zlib.crc32(body) != checksum:
        raise Undecodable
    if size:
        body = _inflated(body, size)
    usage = Usage(prompt, completion, estimated)
    return Stored(
        body, provider, model, usage, cost, asked, stored, fresh, revalidate, on_error
    )  # fmt: skip


def _inflated(body: bytes, size: int) -> bytes:
    """At most the ``size`` that it says it has."""
    inflate = zlib.decompressobj()
    try:
        whole = inflate.decompress(body, size)
    except zlib.error:
        raise Undecodable from None
    if len(whole) != size or inflate.unconsumed_tail:
        raise Undecodable
    return whole
