"""A text-completions request: what is asked, whether it may be asked so, and what is forwarded.

Source: OpenAI's completions endpoint; the ranges are those of the wire contract in docs/api.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec
import orjson

from app.core.errors import InvalidRequest
from app.core.request import PartTokens
from app.openai import json_body
from app.openai.completions.members import combinations, required
from app.openai.messages import has_remote_parts, messages_problems, single_user_text
from app.openai.request_body import RequestBody, Schema, read_body
from app.openai.validators import (
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

INTEGERS = frozenset({"max_tokens", "n", "best_of", "logprobs", "seed"})

# What counts as absent besides null, and is therefore not forwarded.
_ABSENT: dict[str, Callable[[Any], bool]] = {
    "stop": lambda value: value == [],
    "best_of": lambda value: value == 0,
}
_SCHEMA = Schema(FIELDS, INTEGERS, _ABSENT, {"messages": messages_problems})

# Under which names OpenAI's API takes how much is generated.
_LIMITED_BY = frozenset({"max_tokens", "max_completion_tokens"})


class CompletionRequest(RequestBody):
    """A valid request.

    ``bind_max_tokens`` has the default of ``max_tokens`` sent too, because servers differ on what
    they take an absent one for. ``limited`` says that ``max_tokens`` is the only member by which
    the server is told how much to generate, and that it is sent.
    """

    __slots__ = (
        "best_of",
        "bind_max_tokens",
        "echo",
        "limited",
        "logprobs",
        "max_tokens",
        "messages",
        "n",
        "prompts",
    )

    def __init__(self, document: dict[str, Any], raw: dict[str, msgspec.Raw]) -> None:
        super().__init__(document, raw)
        get = document.get
        self.messages: list[dict[str, Any]] | None = get("messages")
        self.prompts: list[Prompt] = [] if self.messages is not None else _split(document["prompt"])
        self.n: int = get("n", 1)
        self.best_of: int = get("best_of", self.n)
        self.max_tokens: int = get("max_tokens", _chat_limit(document))
        self.bind_max_tokens = False
        self.limited = False
        self.echo: bool = get("echo", False)
        self.logprobs: int | None = get("logprobs")

    @property
    def sampled(self) -> bool:
        """Whether the same request, asked again, is meant to give another answer."""
        return "seed" not in self.document and self.document.get("temperature", 1) != 0

    @property
    def cacheable(self) -> bool:
        return self.messages is None or not has_remote_parts(self.messages)

    @property
    def choices(self) -> int:
        """How many choices a whole answer has."""
        return max(1, len(self.prompts)) * self.n

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

    def widened(self, choices: int) -> CompletionRequest:
        """The same request for so many choices a prompt, all of them with their log-probabilities."""
        kept = {k: v for k, v in self.document.items() if k not in ("n", "best_of", "logprobs")}
        logprobs = self.logprobs or 0
        changes = {"n": b"%d" % choices, "logprobs": b"%d" % logprobs}
        return self._with(kept | {"n": choices, "logprobs": logprobs}, changes)

    def counting(self, part_tokens: PartTokens) -> CompletionRequest:
        """The same request, with what a part of ``messages`` that is not text counts as."""
        return self if self.messages is None else super().counting(part_tokens)

    def body_for(self, model: str, changes: dict[str, bytes] | None = None) -> bytes:
        changes = changes or {}
        if self.bind_max_tokens and not _LIMITED_BY & (self.document.keys() | changes.keys()):
            changes = changes | {"max_tokens": b"%d" % DEFAULT_MAX_TOKENS}
        return super().body_for(model, changes)

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
                "This model takes `messages` only as one user message of text; send `prompt`, or "
                "did you mean POST /v1/chat/completions?",
                code="unsupported_parameter",
                param="messages",
            )
        document = {k: v for k, v in self.document.items() if k != "messages"} | {"prompt": text}
        return self._with(document, {"prompt": orjson.dumps(text)})

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
    read = read_body(body, _SCHEMA)
    document, problems = read.document, read.problems
    problems += required(document, FIELDS)
    problems += combinations(document, {problem.param for problem in problems})
    if problems:
        raise InvalidRequest.of(problems)
    return CompletionRequest(document, read.raw(body))


def _split(prompt: Any) -> list[Prompt]:
    if isinstance(prompt, str):
        return [prompt]
    return [prompt] if type(prompt[0]) is int else prompt
