"""What a request of any family is made of: its JSON object, and the bytes in which it was written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, Self

import msgspec
import orjson

from app.core.errors import InvalidRequest, Problem
from app.core.request import DEFAULT_PART_TOKENS, PartTokens
from app.openai import json_body
from app.openai.validators import BEYOND_64_BITS, Check, meant

# What is not read off the document, but set when a request is bounded.
_SET_LATER = ("bind_max_tokens", "limited", "part_tokens")


class RequestBody:
    """A valid request. Frozen: a change is a copy.

    ``document`` holds what was sent, without the members that mean absent. ``part_tokens`` is what a
    part of ``messages`` that is not text counts as.
    """

    __slots__ = ("_raw", "document", "model", "part_tokens", "stream", "stream_options")
    _every_slot: tuple[str, ...] = __slots__

    def __init_subclass__(cls) -> None:
        own: tuple[str, ...] = cls.__dict__.get("__slots__", ())
        cls._every_slot = (*cls._every_slot, *own)

    def __init__(self, document: dict[str, Any], raw: dict[str, msgspec.Raw]) -> None:
        self.document = document
        self._raw = raw
        self.model: str = document["model"]
        self.stream: bool = document.get("stream", False)
        self.stream_options: dict[str, Any] = document.get("stream_options") or {}
        self.part_tokens = DEFAULT_PART_TOKENS

    @property
    def include_usage(self) -> bool:
        """Whether the caller asked for a usage chunk in its stream."""
        return self.stream_options.get("include_usage") is True

    @property
    def continuous_usage(self) -> bool:
        """Whether the caller asked for usage in every chunk of its stream (an extension of vLLM's)."""
        return self.stream_options.get("continuous_usage_stats") is True

    @property
    def cacheable(self) -> bool:
        """Whether everything that is asked about stands in the request itself."""
        return True

    @property
    def raw(self) -> Mapping[str, msgspec.Raw]:
        """The members as the bytes in which they were written."""
        return self._raw

    def size_of(self, name: str) -> int:
        """The bytes in which a member's value was written."""
        return len(memoryview(self._raw[name]))

    def counting(self, part_tokens: PartTokens) -> Self:
        """The same request, with what a part of ``messages`` that is not text counts as."""
        if part_tokens == self.part_tokens:
            return self
        other = self._copy()
        other.part_tokens = part_tokens
        return other

    def replacing(
        self, members: Mapping[str, Any], as_written: Mapping[str, bytes] | None = None
    ) -> Self:
        """The same request with other values of some members, none of which bounds it.

        ``as_written`` is the JSON of those that are not to be encoded from their values.
        """
        given = as_written or {}
        written = {
            name: msgspec.Raw(given[name] if name in given else orjson.dumps(value))
            for name, value in members.items()
        }
        other = type(self)({**self.document, **members}, {**self._raw, **written})
        for name in _SET_LATER:
            if name in self._every_slot:
                setattr(other, name, getattr(self, name))
        return other

    def body_for(self, model: str, changes: dict[str, bytes] | None = None) -> bytes:
        """The body to send upstream: the caller's own bytes, member by member.

        Only ``model`` is rewritten, and what ``changes`` names (an empty value leaves it out).
        """
        changes = changes or {}
        raw = self._raw
        parts = [b'"model":' + orjson.dumps(model)]
        parts += [
            orjson.dumps(name) + b":" + bytes(raw[name])
            for name in self.document
            if name != "model" and name not in changes
        ]
        parts += [orjson.dumps(name) + b":" + value for name, value in changes.items() if value]
        return b"{" + b",".join(parts) + b"}"

    def _copy(self) -> Self:
        other = type(self).__new__(type(self))
        for name in self._every_slot:
            setattr(other, name, getattr(self, name))
        return other


class Schema(NamedTuple):
    """Which members a family's request has, and what is wrong with a value.

    ``integers`` are the members that are forwarded as integers where they were written as floats,
    because JSON knows one kind of number, but servers refuse a float. ``absent`` says what counts as
    absent besides null. ``nested`` are the members whose problems have paths of their own.
    """

    fields: Mapping[str, Check]
    integers: frozenset[str]
    absent: Mapping[str, Callable[[Any], bool]]
    nested: Mapping[str, Callable[[Any], list[Problem]]]


class Body(NamedTuple):
    """A decoded body: its members without those that mean absent, and what is wrong with them.

    ``integers`` are the members that stood there as floats.
    """

    document: dict[str, Any]
    problems: list[Problem]
    integers: list[str]

    def raw(self, body: bytes) -> dict[str, msgspec.Raw]:
        """The members as they are forwarded."""
        raw = json_body.raw_members(body)
        for name in self.integers:
            raw[name] = msgspec.Raw(b"%d" % self.document[name])
        return raw


def read_body(body: bytes, schema: Schema) -> Body:
    """The members of ``body``, checked one by one.

    A seed beyond 64 bits is seen as a float, which is not exact: it is forwarded as it is written.
    Raises InvalidRequest for what is no JSON object.
    """
    try:
        document = json_body.decode_object(body)
    except json_body.NotStrictJson as error:
        raise InvalidRequest(str(error), code="invalid_json") from None
    problems: list[Problem] = []
    gone: list[str] = []
    integers: list[str] = []
    fields, nested, absent = schema.fields, schema.nested, schema.absent
    for name, value in document.items():
        check = fields.get(name)
        if value is None:
            if check is not None or name in nested:
                gone.append(name)
        elif check is not None:
            problem = check(value)
            if problem is not None:
                problems.append(Problem(name, f"`{name}` {problem}."))
            elif name in absent and absent[name](value):
                gone.append(name)
            elif type(value) is float and name in schema.integers and abs(value) < BEYOND_64_BITS:
                document[name] = int(value)
                integers.append(name)
        elif name in nested:
            if name in absent and absent[name](value):
                gone.append(name)
            else:
                problems += nested[name](value)
    for name in gone:
        del document[name]
    return Body(document, problems, integers)


def model_problems(document: Mapping[str, Any], known: Collection[str]) -> list[Problem]:
    """What is wrong with ``model`` besides its type; ``known`` are all members by their names."""
    if "model" not in document:
        text = "`model` is required: the alias of a model."
        return [Problem("model", text + meant("model", document, known))]
    if document["model"] == "":
        return [Problem("model", "`model` must not be empty.")]
    return []


def stream_problems(document: Mapping[str, Any], wrong: set[str | None]) -> list[Problem]:
    """What is wrong between ``stream`` and ``stream_options``, each of which is right by itself."""
    options = document.get("stream_options")
    if options is None or "stream_options" in wrong:
        return []
    problems = []
    if document.get("stream") is not True and "stream" not in wrong:
        problems.append(
            Problem("stream_options", "`stream_options` goes only with `stream: true`.")
        )
    include = options.get("include_usage")
    if include is not None and type(include) is not bool:
        problems.append(
            Problem("stream_options.include_usage", "`include_usage` must be true or false.")
        )
    return problems
