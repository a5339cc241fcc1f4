"""An answer as the cache keeps it: one prompt's, whole, with what it cost and for how long it counts.

One line of JSON, one with a checksum, then the answer's own bytes: what is sent for a plain hit
stands there as it left the gateway the first time. The checksum is over all the rest and over the
name under which the entry stands, so that one that was copied to another name is no entry there.
Large answers are compressed. Pure; times are unix milliseconds of the store's clock.
"""

from __future__ import annotations

import zlib
from typing import Annotated, NamedTuple

import msgspec

from app.core.units import Millis, NanoDollars
from app.core.usage import Usage

COMPRESSED_FROM = 4096  # bytes; below, zlib costs more time than the bytes cost room
MAX_BODY = 1 << 30
LARGE = 128 << 10  # from here on, packing takes more than a millisecond
_LEVEL = 1
_CHECKSUM = 9  # eight digits and the line's end
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Time = Annotated[Millis, msgspec.Meta(ge=0)]
_Money = Annotated[NanoDollars, msgspec.Meta(ge=0)]


class Undecodable(ValueError):
    """These bytes are no stored answer, or not a whole one."""


class CacheEntry(NamedTuple):
    """``body`` is the plain answer to one prompt, its choices numbered from 0.

    ``asked`` is when its request looked into the cache: a purge after that moment covers it.
    Fresh until ``fresh``; until ``revalidate`` it may be served while a new one is fetched, until
    ``on_error`` where a new one cannot be had. ``cost`` is what a hit saves.
    ``policy`` names the rules that the answer has passed: for a call under others it is no entry.
    """

    body: bytes
    provider: str
    model: str
    usage: Usage
    cost: NanoDollars
    asked: Millis
    stored: Millis
    fresh: Millis
    revalidate: Millis
    on_error: Millis
    policy: str = ""

    @property
    def kept_until(self) -> Millis:
        """When nothing can be done with it any more."""
        return max(self.fresh, self.revalidate, self.on_error)


class _Head(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """The script that looks entries up reads the first three and the last."""

    asked: _Time
    stored: _Time
    fresh: _Time
    revalidate: _Time
    on_error: _Time
    prompt_tokens: _Count
    completion_tokens: _Count
    estimated: bool
    cost: _Money
    size: _Count  # of a body that is compressed, else 0
    provider: str
    model: str
    policy: str = ""


_encode_head = msgspec.json.Encoder().encode
_decode_head = msgspec.json.Decoder(_Head).decode


def encode(answer: CacheEntry, name: str) -> bytes:
    """The bytes to keep under this name."""
    body = answer.body
    compressed = len(body) >= COMPRESSED_FROM
    if compressed:
        body = zlib.compress(body, _LEVEL)
    usage = answer.usage
    head = _encode_head(
        _Head(
            answer.asked,
            answer.stored,
            answer.fresh,
            answer.revalidate,
            answer.on_error,
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.estimated,
            answer.cost,
            len(answer.body) if compressed else 0,
            answer.provider,
            answer.model,
            answer.policy,
        )
    )
    return b"%b\n%08x\n%b" % (head, _checksum(name, head, body), body)


def decode(data: bytes, name: str) -> CacheEntry:
    """The answer in the bytes that stand under this name. Raises Undecodable."""
    line, _, rest = data.partition(b"\n")
    checksum, body = rest[:_CHECKSUM], rest[_CHECKSUM:]
    if checksum != b"%08x\n" % _checksum(name, line, body):
        raise Undecodable
    try:
        head = _decode_head(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Undecodable from None
    if head.size:
        body = _inflated(body, head.size)
    return CacheEntry(
        body,
        head.provider,
        head.model,
        Usage(head.prompt_tokens, head.completion_tokens, head.estimated),
        head.cost,
        head.asked,
        head.stored,
        head.fresh,
        head.revalidate,
        head.on_error,
        head.policy,
    )


def _checksum(name: str, head: bytes, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(head, zlib.crc32(name.encode())))


def _inflated(body: bytes, size: int) -> bytes:
    """At most the ``size`` that it says it has."""
    if size > MAX_BODY:
        raise Undecodable
    inflate = zlib.decompressobj()
    try:
        whole = inflate.decompress(body, size + 1)
    except zlib.error:
        raise Undecodable from None
    if len(whole) != size or inflate.unconsumed_tail:
        raise Undecodable
    return whole
