"""An embeddings request: what is asked, whether it may be asked so, and what is forwarded.

Source: OpenAI's embeddings endpoint; the ranges are those of the wire contract in docs/api.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import orjson

from app.core.errors import InvalidRequest, Problem
from app.openai import json_body
from app.openai.request_body import RequestBody, Schema, model_problems, read_body
from app.openai.shown import showing
from app.openai.validators import (
    Check,
    alias,
    batch_schema,
    integer,
    meant,
    one_of,
    prompt_problem,
    text,
)

Input = str | list[int]

FLOAT, BASE64 = "float", "base64"
OVERHEAD = 4  # tokens that a server adds to an input


@showing(batch_schema({"type": "string", "minLength": 1}))
def _input_problem(value: Any) -> str | None:
    """A string, a list of strings, a list of token ids, or a list of such lists; none empty."""
    problem = prompt_problem(value)
    if problem is not None:
        return problem.replace("prompts", "inputs")
    if value == "":
        return "must not be an empty string"
    if type(value) is list and "" in value:
        return "must not hold an empty string"
    return None


@showing({"type": "boolean", "const": False})
def _no_stream(value: Any) -> str | None:
    return None if value is False else "must be left out: embeddings are not streamed"


FIELDS: dict[str, Check] = {
    "model": alias,
    "input": _input_problem,
    "dimensions": integer(1, None),
    "encoding_format": one_of(FLOAT, BASE64),
    "stream": _no_stream,
    "user": text,
}
CONTRACT = frozenset(FIELDS)

_SCHEMA = Schema(FIELDS, frozenset({"dimensions"}), {"stream": lambda value: value is False}, {})


class EmbeddingsRequest(RequestBody):
    """A valid request. ``inputs`` is its batch, ``format`` how the caller wants its vectors."""

    __slots__ = ("format", "inputs")

    def __init__(self, document: dict[str, Any], raw: dict[str, msgspec.Raw]) -> None:
        super().__init__(document, raw)
        self.inputs: list[Input] = _split(document["input"])
        self.format: str = document.get("encoding_format", FLOAT)

    @property
    def sampled(self) -> bool:
        """False: the same input has the same vector."""
        return False

    def bound(self) -> EmbeddingsRequest:
        """Itself: nothing is generated."""
        return self

    def native(self) -> EmbeddingsRequest:
        """The request as every server takes it: for numbers, which is what an absent form means."""
        if "encoding_format" not in self.document or self.format == FLOAT:
            return self
        kept = {name: value for name, value in self.document.items() if name != "encoding_format"}
        return EmbeddingsRequest(kept, self._raw)

    def of_prompts(self, positions: Sequence[int]) -> EmbeddingsRequest:
        """The same request for some inputs of its batch, each as it was written."""
        if len(self.inputs) == 1:
            return self  # its input may stand alone, and not in a list
        written = json_body.raw_items(bytes(self._raw["input"]))
        array = b"[" + b",".join(bytes(written[place]) for place in positions) + b"]"
        document = self.document | {"input": [self.inputs[place] for place in positions]}
        return EmbeddingsRequest(document, {**self._raw, "input": msgspec.Raw(array)})

    def first_places(self) -> list[int]:
        """Where each different input stands for the first time; in a batch without doubles, all."""
        seen: dict[str | tuple[int, ...], int] = {}
        for place, one in enumerate(self.inputs):
            seen.setdefault(_hashable(one), place)
        return list(seen.values())

    def answered_by(self, places: Sequence[int]) -> list[int]:
        """For each input, which of those at ``places`` is the same."""
        known = {_hashable(self.inputs[place]): number for number, place in enumerate(places)}
        return [known[_hashable(one)] for one in self.inputs]


def parse(body: bytes) -> EmbeddingsRequest:
    """The request in ``body``.

    Raises InvalidRequest naming every wrong field.
    """
    read = read_body(body, _SCHEMA)
    document, problems = read.document, read.problems
    problems += model_problems(document, CONTRACT)
    if "input" not in document:
        missing = "`input` is required: a string, strings, token ids or lists of them."
        problems.append(Problem("input", missing + meant("input", document, CONTRACT)))
    if problems:
        raise InvalidRequest.of(problems)
    return EmbeddingsRequest(document, read.raw(body))


def request_for(model: str, texts: Sequence[str], **members: Any) -> EmbeddingsRequest:
    """A request of the gateway's own."""
    document: Mapping[str, Any] = {"model": model, "input": list(texts), **members}
    return parse(orjson.dumps(document))


def _hashable(one: Input) -> str | tuple[int, ...]:
    return one if isinstance(one, str) else tuple(one)


def _split(given: Any) -> list[Input]:
    if isinstance(given, str):
        return [given]
    return [given] if type(given[0]) is int else given
