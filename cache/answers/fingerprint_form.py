"""The cache's key: what a request asks, as bytes that no other question has, hashed to 256 bits.

docs/fingerprint.md defines the form, so that replicas of different releases can share a store.
Whatever changes the form changes ``VERSION``. What differs between the families stands beside this
file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from hashlib import blake2b
from operator import itemgetter
from typing import Any, Literal, NamedTuple

from app.config.values.patterns import Patterns
from app.core.units import Digest
from cache.answers.canonical_values import array, encoded, string
from cache.answers.normalization import Level

VERSION = 1

Headers = Sequence[tuple[bytes, bytes]]  # names in lower case

_HEADERS = string("headers")


class Scope(NamedTuple):
    """Who shares answers. ``tenant`` and ``key`` are empty where the kind does not name them."""

    kind: Literal["tenant", "key", "global"]
    tenant: str
    key: str


class FingerprintForm(ABC):
    """The fingerprints of requests in one scope, namespace, endpoint family and alias.

    ``targets`` are lists of strings that say what each target of the alias is; any change makes
    every entry another one. ``normalize`` applies to prompts of text. ``ignore`` is what of a
    prompt, or of the text of a message, does not count. A family says what stands in
    ``members``, ``inputs`` and ``before``, and what is ``applied``.
    """

    def __init__(
        self,
        *,
        scope: Scope,
        namespace: str,
        family: str,
        alias: str,
        targets: Sequence[Sequence[str]],
        normalize: Level,
        ignore: Patterns | None = None,
    ) -> None:
        where = [string(text) for text in (*scope, namespace, family, alias)]
        rows = [array([string(text) for text in target]) for target in targets]
        self._place = b"".join([b"headgate-fingerprint-%d\n" % VERSION, *where, array(rows)])
        self.ignore = ignore
        if ignore is not None:
            patterns = array([string(pattern) for pattern in ignore.identity])
            self._place += array([string("ignore"), patterns])
        self._level: Level = normalize
        self._started = {level: self._start(level) for level in {"none", normalize}}

    def of(self, request: Any, headers: Headers = ()) -> list[Digest]:
        """One 32-byte digest a prompt, each what it would be alone.

        ``headers`` are those that go upstream with the call and may change its answer.
        """
        level = self.applied(request)
        shared = self._started[level].copy()
        shared.update(self.members(request))
        last = _headers(headers)
        digests = []
        for given in self.inputs(request, level):
            one = shared.copy()
            one.update(given + last)
            digests.append(Digest(one.digest()))
        return digests

    def partition(self, request: Any, also: str, headers: Headers = ()) -> bytes:
        """What two requests must share to be compared by the meaning of one text: all the rest.

        The text is the prompt, or what the last message says; ``also`` is what else must be equal,
        such as the version of the comparison.
        """
        shared = self._started["none"].copy()
        shared.update(self.members(request))
        shared.update(string("meaning") + string(also) + _headers(headers))
        shared.update(self.before(request))
        return shared.digest()

    def forms(self, request: Any, headers: Headers = ()) -> list[bytes]:
        """What the digests are of, for tests and for whoever has to explain a miss."""
        level = self.applied(request)
        shared = self._place + string(level) + self.members(request)
        last = _headers(headers)
        return [shared + given + last for given in self.inputs(request, level)]

    @abstractmethod
    def members(self, request: Any) -> bytes:
        """The members as one object: names in order, defaults made explicit."""

    @abstractmethod
    def inputs(self, request: Any, level: Level) -> list[bytes]:
        """Each prompt, under the kind of input that it is."""

    @abstractmethod
    def before(self, request: Any) -> bytes:
        """What stands before the text that is compared by meaning."""

    @abstractmethod
    def applied(self, request: Any) -> Level:
        """The level of normalisation that applies to this request."""

    def _start(self, level: str) -> blake2b:
        return blake2b(self._place + string(level), digest_size=32)


def _headers(headers: Headers) -> bytes:
    """The headers by name, those of one name in the order in which they came; nothing for none."""
    if not headers:
        return b""
    ordered = sorted(headers, key=itemgetter(0))
    pairs = [b"A2:" + encoded(name) + encoded(value) for name, value in ordered]
    return _HEADERS + array(pairs)
