"""A chat request: what is asked, whether it may be asked so, and what is forwarded.

Source: OpenAI's chat completions endpoint; the ranges are those of the wire contract in docs/api.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Self

import msgspec

from app.core.errors import InvalidRequest, Problem
from app.openai.chat.messages import messages_problems
from app.openai.chat.schemas import AUDIO, PREDICTION
from app.openai.chat.tools import (
    function_call_problems,
    functions_problems,
    response_format_problems,
    tool_choice_problems,
    tools_problems,
    unoffered,
)
from app.openai.messages import has_remote_parts
from app.openai.request_body import (
    RequestBody,
    Schema,
    model_problems,
    read_body,
    stream_problems,
)
from app.openai.shown import showing
from app.openai.validators import (
    Check,
    alias,
    any_integer,
    boolean,
    integer,
    meant,
    number,
    object_of_numbers,
    optional_object,
    problem_at,
    stops_schema,
    text,
)

MAX_STOPS = 4  # OpenAI's
MAX_METADATA = 16
LIMITS = ("max_completion_tokens", "max_tokens")  # the first one wins

_MODALITIES = frozenset({"text", "audio"})


@showing(stops_schema(MAX_STOPS))
def _stop(value: Any) -> str | None:
    if type(value) is str:
        return None
    if type(value) is not list or any(type(item) is not str for item in value):
        return "must be a string or a list of strings"
    if len(value) > MAX_STOPS:
        return f"must hold at most {MAX_STOPS} strings, not {len(value)}"
    return None


@showing(
    {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": MAX_METADATA}
)
def _metadata(value: Any) -> str | None:
    if type(value) is not dict or any(type(item) is not str for item in value.values()):
        return "must be an object whose values are strings"
    if len(value) > MAX_METADATA:
        return f"must hold at most {MAX_METADATA} members, not {len(value)}"
    return None


@showing({"type": "array", "items": {"enum": sorted(_MODALITIES)}, "minItems": 1})
def _modalities(value: Any) -> str | None:
    wrong = type(value) is not list or not value
    if wrong or any(type(item) is not str or item not in _MODALITIES for item in value):
        return "must be a list of text, audio or both"
    return None


@showing(AUDIO)
def _audio(value: Any) -> list[Problem]:
    if type(value) is not dict:
        return [problem_at("audio", "must be an object")]
    problems = []
    if type(value.get("voice")) not in (str, dict):
        problems.append(problem_at("audio.voice", "is required: a string"))
    if type(value.get("format")) is not str:
        problems.append(problem_at("audio.format", "is required: a string"))
    return problems


@showing(PREDICTION)
def _prediction(value: Any) -> list[Problem]:
    if type(value) is not dict:
        return [problem_at("prediction", "must be an object")]
    problems = []
    if value.get("type") != "content":
        problems.append(problem_at("prediction.type", "must be content"))
    content = value.get("content")
    if type(content) is not str and not (type(content) is list and all(map(_is_text, content))):
        problems.append(problem_at("prediction.content", "must be a string or text parts"))
    return problems


def _is_text(part: Any) -> bool:
    return type(part) is dict and part.get("type") == "text" and type(part.get("text")) is str


FIELDS: dict[str, Check] = {
    "model": alias,
    "max_tokens": integer(1, None),
    "max_completion_tokens": integer(1, None),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "n": integer(1, 128),
    "stream": boolean,
    "stream_options": optional_object,
    "stop": _stop,
    "logprobs": boolean,
    "top_logprobs": integer(0, 20),
    "frequency_penalty": number(-2, 2),
    "presence_penalty": number(-2, 2),
    "logit_bias": object_of_numbers(-100, 100),
    "seed": any_integer,
    "parallel_tool_calls": boolean,
    "modalities": _modalities,
    "reasoning_effort": text,
    "verbosity": text,
    "metadata": _metadata,
    "store": boolean,
    "service_tier": text,
    "safety_identifier": text,
    "prompt_cache_key": text,
    "web_search_options": optional_object,
    "user": text,
}
NESTED = {
    "messages": messages_problems,
    "tools": tools_problems,
    "tool_choice": tool_choice_problems,
    "functions": functions_problems,
    "function_call": function_call_problems,
    "response_format": response_format_problems,
    "audio": _audio,
    "prediction": _prediction,
}
CONTRACT = frozenset(FIELDS) | frozenset(NESTED)

_SCHEMA = Schema(
    FIELDS,
    frozenset({"max_tokens", "max_completion_tokens", "n", "top_logprobs", "seed"}),
    # A client may send its empty lists: nothing is meant by them.
    {name: lambda value: value == [] for name in ("stop", "tools", "functions")},
    NESTED,
)


class ChatRequest(RequestBody):
    """A valid request. ``max_tokens`` is the limit under either name, None where there is none.

    ``limited`` says that it is the only member by which the server is told how much to generate,
    and that it is sent.
    """

    __slots__ = ("limited", "max_tokens", "messages", "n")

    def __init__(self, document: dict[str, Any], raw: dict[str, msgspec.Raw]) -> None:
        super().__init__(document, raw)
        self.messages: list[dict[str, Any]] = document["messages"]
        self.n: int = document.get("n", 1)
        self.max_tokens: int | None = next(
            (document[name] for name in LIMITS if name in document), None
        )
        self.limited = False

    @property
    def sampled(self) -> bool:
        """Whether the same request, asked again, is meant to give another answer."""
        return "seed" not in self.document and self.document.get("temperature", 1) != 0

    @property
    def choices(self) -> int:
        """How many choices a whole answer has."""
        return self.n

    @property
    def cacheable(self) -> bool:
        return not has_remote_parts(self.messages)

    def bound(self) -> ChatRequest:
        """Itself: an absent limit has no default that could be written out."""
        return self

    def native(self) -> ChatRequest:
        """Itself, because conversations are what a chat endpoint takes."""
        return self

    def of_prompts(self, positions: Sequence[int]) -> ChatRequest:  # noqa: ARG002 - see below
        """Itself: one conversation is one prompt."""
        return self

    def limited_to(self, tokens: int, name: str, without: Collection[str] = ()) -> Self:
        """The same request with one limit, under the ``name`` that the server takes, and without
        other members."""
        present = [limit for limit in LIMITS if limit in self.document]
        if self.max_tokens == tokens and present == [name] and not without:
            limited = self._copy()
        else:
            gone = {*without, *LIMITS}
            kept = {name: value for name, value in self.document.items() if name not in gone}
            raw = self._raw | {name: msgspec.Raw(b"%d" % tokens)}
            limited = type(self)(kept | {name: tokens}, raw)
            limited.part_tokens = self.part_tokens
        limited.limited = True
        return limited


def parse(body: bytes) -> ChatRequest:
    """The request in ``body``.

    Raises InvalidRequest naming every wrong field.
    """
    read = read_body(body, _SCHEMA)
    document, problems = read.document, read.problems
    problems += model_problems(document, CONTRACT)
    if "messages" not in document:
        missing = "`messages` is required: a list of chat messages."
        problems.append(Problem("messages", missing + meant("messages", document, CONTRACT)))
    wrong = {(problem.param or "").partition(".")[0].partition("[")[0] for problem in problems}
    problems += stream_problems(document, {*wrong})
    problems += _combinations(document, wrong)
    if problems:
        raise InvalidRequest.of(problems)
    return ChatRequest(document, read.raw(body))


def _combinations(document: Mapping[str, Any], wrong: Collection[str]) -> Iterator[Problem]:
    """What is wrong between fields, said only where the fields themselves are right."""
    newer, older = (document.get(name) for name in LIMITS)
    both = newer is not None and older is not None
    if both and newer != older and not {*LIMITS} & {*wrong}:
        why = f"must be `max_completion_tokens` ({newer}) where both are sent, not {older}"
        yield problem_at("max_tokens", why)
    alone = "top_logprobs" in document and document.get("logprobs") is not True
    if alone and not {"logprobs", "top_logprobs"} & {*wrong}:
        yield problem_at("top_logprobs", "goes only with `logprobs: true`")
    speaks = "audio" in (document.get("modalities") or ())
    if speaks and "audio" not in document and "modalities" not in wrong:
        yield problem_at("audio", "is required where `modalities` has audio")
    if not {"tools", "tool_choice", "functions", "function_call"} & {*wrong}:
        yield from unoffered(document)
