"""The cache's key: what a request asks, as bytes that no other question has, hashed to 256 bits.

docs/fingerprint.md defines the form, so that replicas of different releases can share a store.
Whatever changes the form changes ``VERSION``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from functools import lru_cache
from hashlib import blake2b
from operator import itemgetter
from typing import Any, Literal, NamedTuple

import msgspec
import orjson

from app.config.patterns import Patterns
from app.core.units import Digest
from app.openai.completions.request import DEFAULT_MAX_TOKENS, CompletionRequest, Prompt
from app.openai.json_body import raw_items
from cache.answers.ignored import without_ignored
from cache.answers.normalization import Level, normalized

VERSION = 1

Headers = Sequence[tuple[bytes, bytes]]  # names in lower case

# These change how an answer is delivered or booked, not what it is; or they stand elsewhere.
_LEFT_OUT = frozenset("model prompt messages stream stream_options user metadata store".split())
_CACHED_NUMBER = 32  # bytes of text; longer ones would let callers fill the memory
_PLAIN_EXPONENT = 18  # digits; Python refuses to read thousands, and reads many slowly


# Members of vLLM's by which an answer tells of its prompt, as `echo` does.
SHOWS_PROMPT = frozenset({"prompt_logprobs", "return_token_ids"})


class Scope(NamedTuple):
    """Who shares answers. ``tenant`` and ``key`` are empty where the kind does not name them."""

    kind: Literal["tenant", "key", "global"]
    tenant: str
    key: str


class Fingerprinter:
    """The fingerprints of requests in one scope, namespace, endpoint family and alias.

    ``targets`` are lists of strings that say what each target of the alias is; any change makes
    every entry another one. ``normalize`` applies to prompts of text. ``ignore`` is what of a
    prompt, or of the text of a message, does not count.
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
        where = [_string(text) for text in (*scope, namespace, family, alias)]
        rows = [_array([_string(text) for text in target]) for target in targets]
        self._place = b"".join([b"headgate-fingerprint-%d\n" % VERSION, *where, _array(rows)])
        self._ignore = ignore
        if ignore is not None:
            patterns = _array([_string(pattern) for pattern in ignore.identity])
            self._place += _array([_string("ignore"), patterns])
        self._level: Level = normalize
        self._started = {level: self._start(level) for level in {"none", normalize}}

    def of(self, request: CompletionRequest, headers: Headers = ()) -> list[Digest]:
        """One 32-byte digest a prompt, each what it would be alone; exactly one for messages.

        ``headers`` are those that go upstream with the call and may change its answer.
        """
        level = self._applied(request)
        shared = self._started[level].copy()
        shared.update(_members(request))
        last = _headers(headers)
        digests = []
        for given in self._inputs(request, level):
            one = shared.copy()
            one.update(given + last)
            digests.append(Digest(one.digest()))
        return digests

    def partition(self, request: CompletionRequest, also: str, headers: Headers = ()) -> bytes:
        """What two requests must share to be compared by the meaning of one text: all the rest.

        The text is the prompt, or what the last message says; ``also`` is what else must be equal,
        such as the version of the comparison.
        """
        shared = self._started["none"].copy()
        shared.update(_members(request))
        shared.update(_string("meaning") + _string(also) + _headers(headers))
        if request.messages is not None:
            before = [_decoded(one) for one in raw_items(bytes(_raw(request)["messages"]))[:-1]]
            if self._ignore is not None:
                before = [without_ignored(message, self._ignore) for message in before]
            shared.update(_MESSAGES + _array([_value(message) for message in before]))
        return shared.digest()

    def forms(self, request: CompletionRequest, headers: Headers = ()) -> list[bytes]:
        """What the digests are of, for tests and for whoever has to explain a miss."""
        level = self._applied(request)
        shared = self._place + _string(level) + _members(request)
        last = _headers(headers)
        return [shared + given + last for given in self._inputs(request, level)]

    def _inputs(self, request: CompletionRequest, level: Level) -> list[bytes]:
        ignore = None if self._ignore is None or _shows_prompt(request) else self._ignore
        if request.messages is None:
            prompts = request.prompts
            if ignore is not None:
                prompts = [ignore.without(p) if isinstance(p, str) else p for p in prompts]
            return [_PROMPT + _prompt(prompt, level) for prompt in prompts]
        if ignore is None:
            return [_MESSAGES + _nested(_raw(request)["messages"])]
        messages = _exact(bytes(_raw(request)["messages"]).decode())
        return [_MESSAGES + _array([_value(without_ignored(one, ignore)) for one in messages])]

    def _start(self, level: str) -> blake2b:
        return blake2b(self._place + _string(level), digest_size=32)

    def _applied(self, request: CompletionRequest) -> Level:
        """``none`` where nothing is normalised: the prompt is no text, or is part of the answer."""
        if request.echo or request.logprobs is not None or request.messages is not None:
            return "none"
        if not SHOWS_PROMPT.isdisjoint(request.document):
            return "none"
        return self._level if type(request.prompts[0]) is str else "none"


def _shows_prompt(request: CompletionRequest) -> bool:
    """Whether the prompt's own text is part of the answer, so that nothing of it is changed."""
    if request.messages is None and (request.echo or request.logprobs is not None):
        return True
    return not SHOWS_PROMPT.isdisjoint(request.document)


def _prompt(prompt: Prompt, level: Level) -> bytes:
    if isinstance(prompt, str):
        return _string(normalized(prompt, level))
    ids = orjson.dumps(prompt)[1:-1]
    return b"I%d:%b" % (len(ids), ids)


def _headers(headers: Headers) -> bytes:
    """The headers by name, those of one name in the order in which they came; nothing for none."""
    if not headers:
        return b""
    ordered = sorted(headers, key=itemgetter(0))
    pairs = [b"A2:" + _bytes(name) + _bytes(value) for name, value in ordered]
    return _HEADERS + _array(pairs)


def _members(request: CompletionRequest) -> bytes:
    """The members as one object: names in order, defaults made explicit."""
    document = request.document
    raw = _raw(request)
    pairs = _DEFAULTS.copy()
    for name, value in document.items():
        if name not in _LEFT_OUT:
            pairs[name] = (_NAMES.get(name) or _string(name)) + _member(name, value, raw[name])
    if "max_completion_tokens" in document and "max_tokens" not in document:
        pairs["max_tokens"] = _NAMES["max_tokens"] + b"N"  # the other limit stands in its place
    if request.n != 1 and "best_of" not in document:
        pairs["best_of"] = _NAMES["best_of"] + _number(b"%d" % request.n)
    # Text sorts by code point, which is the order of its UTF-8 bytes.
    ordered = pairs.values() if len(pairs) == len(_DEFAULTS) else [pairs[n] for n in sorted(pairs)]
    return b"O%d:%b" % (len(pairs), b"".join(ordered))


def _member(name: str, value: Any, raw: msgspec.Raw) -> bytes:
    kind = type(value)
    if kind is int or kind is float:  # the text is exact, where a float is not
        return _number(bytes(raw))
    if kind is str:
        text = _string(value)
        return b"A1:" + text if name == "stop" else text
    if kind is dict or kind is list:
        return _nested(raw)
    return b"N" if value is None else b"T" if value else b"F"


def _raw(request: CompletionRequest) -> dict[str, msgspec.Raw]:
    return request._raw  # noqa: SLF001 - only the text of a number has its exact value


def _nested(raw: msgspec.Raw) -> bytes:
    return _value(_decoded(raw))


def _decoded(raw: msgspec.Raw) -> Any:
    return _exact(bytes(raw).decode())


def _value(value: Any) -> bytes:
    kind = type(value)
    if kind is str:
        return _string(value)
    if kind is bytes:  # a number, encoded as it was read
        return value  # type: ignore[no-any-return]
    if kind is list:
        return _array([_value(item) for item in value])
    if kind is dict:
        pairs = [_string(name) + _value(value[name]) for name in sorted(value)]
        return b"O%d:%b" % (len(pairs), b"".join(pairs))
    return b"N" if value is None else b"T" if value else b"F"


def _string(text: str) -> bytes:
    return _bytes(text.encode())


def _bytes(encoded: bytes) -> bytes:
    return b"S%d:%b" % (len(encoded), encoded)


def _array(items: list[bytes]) -> bytes:
    return b"A%d:%b" % (len(items), b"".join(items))


def _number(text: bytes) -> bytes:
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
    return _number(text.encode())


_exact = json.JSONDecoder(parse_int=_number_in_text, parse_float=_number_in_text).decode

_PROMPT = _string("prompt")
_MESSAGES = _string("messages")
_HEADERS = _string("headers")

# OpenAI's; in the order of their names, `best_of` being that of one choice.
_DEFAULT_VALUES = {
    "best_of": b"D1:1",
    "echo": b"F",
    "frequency_penalty": b"D1:0",
    "logit_bias": b"O0:",
    "logprobs": b"N",
    "max_tokens": _number(b"%d" % DEFAULT_MAX_TOKENS),
    "n": b"D1:1",
    "presence_penalty": b"D1:0",
    "seed": b"N",
    "stop": b"A0:",
    "suffix": b"N",
    "temperature": b"D1:1",
    "top_p": b"D1:1",
}
_NAMES = {name: _string(name) for name in _DEFAULT_VALUES}
_DEFAULTS = {name: _NAMES[name] + value for name, value in _DEFAULT_VALUES.items()}
