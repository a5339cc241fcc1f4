"""A text-completions request: what is asked, whether it may be asked so, and what is forwarded.

Source: OpenAI's completions endpoint; the ranges are those of the wire contract in docs/api.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec
import orjson

from app.core.errors import InvalidRequest, Problem
from app.core.request import DEFAULT_PART_TOKENS, PartTokens
from app.openai import json_body
from app.openai.completions.members import combinations, required
from app.openai.messages import single_user_text
from app.openai.validators import (
    BEYOND_64_BITS,
    Check,
    alias,
    any_integer,
    boolean,
    integer,
    number,
    object_of_numbers,
    optional_object,
    prompt_problem,
    stop_problem,
    text,
)

DEFAULT_MAX_TOKENS = 16  # what the OpenAI API counts when the field is absent

Prompt = str | list[int]

FIELDS: dict[str, Check] = {
    "model": alias,
    "prompt": prompt_problem,
    "max_tokens": integer(0, None),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "n": integer(1, 128),
    "best_of": integer(0, 128),
    "stream": boolean,
    "stream_options": optional_object,
    "stop": stop_problem,
    "suffix": text,
    "echo": boolean,
    "logprobs": integer(0, 5),
    "frequency_penalty": number(-2, 2),
    "presence_penalty": number(-2, 2),
    "logit_bias": object_of_numbers(-100, 100),
    "seed": any_integer,
    "user": text,
}

# `16.0` is 16 here, and is forwarded so: JSON knows one kind of number, but servers refuse a float.
# A seed beyond 64 bits is seen as a float, which is not exact: it is forwarded as it is written.
INTEGERS = frozenset({"max_tokens", "n", "best_of", "logprobs", "seed"})

# What counts as absent besides null, and is therefore not forwarded.
_ABSENT: dict[str, Callable[[Any], bool]] = {
    "stop": lambda value: value == [],
    "best_of": lambda value: value == 0,
}


# Under which names OpenAI's API takes how much is generated.
_LIMITED_BY = frozenset({"max_tokens", "max_completion_tokens"})


class CompletionRequest:
    """A valid request. ``document`` holds what was sent, without the members that mean absent.

    ``bind_max_tokens`` has the default of ``max_tokens`` sent too, because servers differ on what
    they take an absent one for. ``limited`` says that ``max_tokens`` is the only member by which
    the server is told how much to generate, and that it is sent. ``part_tokens`` is what a part of
    ``messages`` that is not text counts as.
    """

    __slots__ = (
        "_raw",
        "best_of",
        "bind_max_tokens",
        "document",
        "echo",
        "limited",
        "logprobs",
        "max_tokens",
        "messages",
        "model",
        "n",
        "part_tokens",
        "prompts",
        "stream",
        "stream_options",
    )

    def __init__(self, document: dict[str, Any], raw: dict[str, msgspec.Raw]) -> None:
        get = document.get
        self.document = document
        self._raw = raw
        self.model: str = document["model"]
        self.messages: list[dict[str, Any]] | None = get("messages")
        self.prompts: list[Prompt] = [] if self.messages is not None else _split(document["prompt"])
        self.n: int = get("n", 1)
        self.best_of: int = get("best_of", self.n)
        self.max_tokens: int = get("max_tokens", _chat_limit(document))
        self.bind_max_tokens = False
        self.limited = False
        self.part_tokens = DEFAULT_PART_TOKENS
        self.stream: bool = get("stream", False)
        self.stream_options: dict[str, Any] = get("stream_options") or {}
        self.echo: bool = get("echo", False)
        self.logprobs: int | None = get("logprobs")

    @property
    def include_usage(self) -> bool:
        """Whether the caller asked for a usage chunk in its stream."""
        return self.stream_options.get("include_usage") is True

    @property
    def continuous_usage(self) -> bool:
        """Whether the caller asked for usage in every chunk of its stream (an extension of vLLM's)."""
        return self.stream_options.get("continuous_usage_stats") is True

    @property
    def sampled(self) -> bool:
        """Whether the same request, asked again, is meant to give another answer."""
        return "seed" not in self.document and self.document.get("temperature", 1) != 0

    @property
    def choices(self) -> int:
        """How many choices a whole answer has."""
        return max(1, len(self.prompts)) * self.n

    def size_of(self, name: str) -> int:
        """The bytes in which a member's value was written."""
        return len(memoryview(self._raw[name]))

    def limited_to(self, tokens: int, without: Collection[str] = ()) -> CompletionRequest:
        """The same request with ``max_tokens`` as its only limit, and without other members.

        An absent ``max_tokens`` of the default size is left absent and sent all the same, because
        that is how a cache knows it.
        """
        written = b"%d" % tokens
        present = self._raw.get("max_tokens") if "max_tokens" in self.document else None
        absent = present is None and tokens == DEFAULT_MAX_TOKENS
        if not without and (absent or (present is not None and bytes(present) == written)):
            limited = self._copy()
            limited.bind_max_tokens = limited.bind_max_tokens or absent
        else:
            kept = {name: value for name, value in self.document.items() if name not in without}
            limited = self._with(kept | {"max_tokens": tokens}, {"max_tokens": written})
        limited.limited = True
        return limited

    def counting(self, part_tokens: PartTokens) -> CompletionRequest:
        """The same request, with what a part of ``messages`` that is not text counts as."""
        if self.messages is None or part_tokens == self.part_tokens:
            return self
        other = self._copy()
        other.part_tokens = part_tokens
        return other

    def body_for(self, model: str, changes: dict[str, bytes] | None = None) -> bytes:
        """The body to send upstream: the caller's own bytes, member by member.

        Only ``model`` is rewritten, and what ``changes`` names (an empty value leaves it out).
        """
        changes = changes or {}
        if self.bind_max_tokens and not _LIMITED_BY & (self.document.keys() | changes.keys()):
            changes = changes | {"max_tokens": b"%d" % DEFAULT_MAX_TOKENS}
        raw = self._raw
        parts = [b'"model":' + orjson.dumps(model)]
        parts += [
            orjson.dumps(name) + b":" + bytes(raw[name])
            for name in self.document
            if name != "model" and name not in changes
        ]
        parts += [orjson.dumps(name) + b":" + value for name, value in changes.items() if value]
        return b"{" + b",".join(parts) + b"}"

    def bound(self) -> CompletionRequest:
        """The same request, with the default of ``max_tokens`` written out where it is absent."""
        if self.bind_max_tokens:
            return self
        other = self._copy()
        other.bind_max_tokens = True
        return other

    def native(self) -> CompletionRequest:
        """The request with a prompt: a one-message conversation is its text.

        Raises InvalidRequest for any other conversation.
        """
        if self.messages is None:
            return self
        text = single_user_text(self.messages)
        if text is None:
            raise InvalidRequest(
                "This model takes `messages` only as one user message of text; send `prompt`, "
                "or use a chat model.",
                code="unsupported_parameter",
                param="messages",
            )
        document = {k: v for k, v in self.document.items() if k != "messages"} | {"prompt": text}
        return self._with(document, {"prompt": orjson.dumps(text)})

    def _copy(self) -> CompletionRequest:
        other = CompletionRequest.__new__(CompletionRequest)
        for name in CompletionRequest.__slots__:
            setattr(other, name, getattr(self, name))
        return other

    def of_prompts(self, places: Sequence[int]) -> CompletionRequest:
        """The same request for some prompts of its batch, each as it was written."""
        written = json_body.raw_items(bytes(self._raw["prompt"]))
        prompt = b"[" + b",".join(bytes(written[place]) for place in places) + b"]"
        document = self.document | {"prompt": [self.prompts[place] for place in places]}
        return self._with(document, {"prompt": prompt})

    def _with(self, document: dict[str, Any], written: dict[str, bytes]) -> CompletionRequest:
        """The same request with another document, of which some members are ``written`` anew."""
        raw = self._raw | {name: msgspec.Raw(value) for name, value in written.items()}
        other = CompletionRequest(document, raw)
        other.bind_max_tokens, other.limited = self.bind_max_tokens, self.limited
        other.part_tokens = self.part_tokens
        return other


def _chat_limit(document: dict[str, Any]) -> int:
    """The limit by its name in the chat schema, which ``messages`` may bring along."""
    value = document.get("max_completion_tokens")
    return value if type(value) is int and value > 0 else DEFAULT_MAX_TOKENS


def parse(body: bytes) -> CompletionRequest:
    """The request in ``body``.

    Raises InvalidRequest naming every wrong field.
    """
    try:
        document = json_body.decode_object(body)
    except json_body.NotStrictJson as error:
        raise InvalidRequest(str(error), code="invalid_json") from None
    problems: list[Problem] = []
    absent: list[str] = []
    floats: list[str] = []
    for name, value in document.items():
        check = FIELDS.get(name)
        if value is None:
            if check is not None or name == "messages":
                absent.append(name)
        elif check is not None:
            problem = check(value)
            if problem is not None:
                problems.append(Problem(name, f"`{name}` {problem}."))
            elif name in _ABSENT and _ABSENT[name](value):
                absent.append(name)
            elif type(value) is float and name in INTEGERS and abs(value) < BEYOND_64_BITS:
                document[name] = int(value)
                floats.append(name)
    for name in absent:
        del document[name]
    problems += required(document, FIELDS)
    problems += combinations(document, {problem.param for problem in problems})
    if problems:
        raise InvalidRequest.of(problems)
    raw = json_body.raw_members(body)
    for name in floats:
        raw[name] = msgspec.Raw(b"%d" % document[name])
    return CompletionRequest(document, raw)


def _split(prompt: Any) -> list[Prompt]:
    if isinstance(prompt, str):
        return [prompt]
    return [prompt] if type(prompt[0]) is int else prompt
