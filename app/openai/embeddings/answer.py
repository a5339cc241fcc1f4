"""An embeddings answer: what an upstream gave, and each form in which a caller may want it.

A vector is a list of numbers, or the base64 of 32-bit floats in little-endian order. An answer is
kept in the form in which its upstream gave it, and is put into the caller's form on the way out.
"""

from __future__ import annotations

import base64
import binascii
import math
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import msgspec
import orjson

from app.core.errors import UpstreamInvalid
from app.core.family import Part
from app.core.reply import Answer
from app.core.usage import MAX_TOKENS, Usage, credible, estimate_prompts
from app.openai import lenient_json
from app.openai.completions.parts import apportion
from app.openai.embeddings.request import BASE64, EmbeddingsRequest, Input


class _Vector(msgspec.Struct):
    index: int
    embedding: msgspec.Raw
    object: Literal["embedding"]


class _Usage(msgspec.Struct):
    prompt_tokens: int
    total_tokens: int


class _Clean(msgspec.Struct):
    object: Literal["list"]
    data: list[_Vector]
    model: str
    usage: _Usage
    error: None = None


_decode_clean = msgspec.json.Decoder(_Clean).decode
_decode_vector = msgspec.json.Decoder(list[float] | str).decode


def read_answer(body: bytes, request: EmbeddingsRequest, model: str, now: int) -> Answer:
    """The answer in an upstream's body; ``model`` is the name we asked it for.

    Raises UpstreamInvalid where the body is not an embeddings answer to this request.
    """
    return _as_it_stands(body, request) or _mended(body, request, model)


def _as_it_stands(body: bytes, request: EmbeddingsRequest) -> Answer | None:
    """The answer, where nothing at all needs mending."""
    try:
        clean = _decode_clean(body)
        vectors = [_decode_vector(one.embedding) for one in clean.data]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if len(clean.data) != len(request.inputs):
        return None
    if any(one.index != place for place, one in enumerate(clean.data)):
        return None
    if not _alike(vectors) or not credible(clean.usage.prompt_tokens):
        return None
    return Answer(body, clean.model, Usage(clean.usage.prompt_tokens, 0))


def _mended(body: bytes, request: EmbeddingsRequest, model: str) -> Answer:
    try:
        document = lenient_json.decode(body)
    except lenient_json.NotJson:
        raise UpstreamInvalid("The upstream's answer is not valid JSON.") from None
    if not isinstance(document, dict) or document.get("error"):
        raise UpstreamInvalid("The upstream's answer holds no embeddings.")
    document["object"] = "list"
    document["data"] = _mended_data(document.get("data"), len(request.inputs))
    if not isinstance(document.get("model"), str):
        document["model"] = model
    usage = read_usage(document.get("usage"))
    if usage is None:
        usage = Usage(estimate_prompts(request.inputs), 0, estimated=True)
    said = document.get("usage")
    document["usage"] = {**(said if isinstance(said, dict) else {}), **usage_document(usage)}
    return Answer(orjson.dumps(document), document["model"], usage)


def _mended_data(data: Any, count: int) -> list[dict[str, Any]]:
    if not isinstance(data, list) or len(data) != count:
        found = len(data) if isinstance(data, list) else "no"
        raise UpstreamInvalid(f"The upstream gave {found} embeddings where {count} were asked for.")
    for place, one in enumerate(data):
        if not isinstance(one, dict):
            raise UpstreamInvalid("The upstream gave an embedding that is no object.")
        one["object"] = "embedding"
        if one.get("index") is None:
            one["index"] = place
        if type(one["index"]) is not int:
            raise UpstreamInvalid("The upstream gave an embedding whose index is no number.")
    if {one["index"] for one in data} != set(range(count)):
        raise UpstreamInvalid("The upstream gave embeddings whose indexes are not the inputs'.")
    for one in data:
        one["embedding"] = _vector(one.get("embedding"))
    if not _alike([one["embedding"] for one in data]):
        raise UpstreamInvalid("The upstream gave embeddings that are no vectors of one length.")
    return sorted(data, key=lambda one: int(one["index"]))


def _alike(vectors: Sequence[list[float] | str]) -> bool:
    """Whether all are vectors, and of one length."""
    lengths = [_length(vector) for vector in vectors]
    return all(lengths) and all(one == next_one for one, next_one in pairwise(lengths))


def _length(vector: list[float] | str) -> int:
    """How many numbers a vector has; 0 for a text that is none."""
    if isinstance(vector, str):
        try:
            floats = array("f", base64.b64decode(vector, validate=True))
        except (binascii.Error, ValueError):  # no base64, or half a number
            return 0
        return len(floats) if all(map(math.isfinite, floats)) else 0
    return len(vector)


def _vector(value: Any) -> list[float] | str:
    """What is a vector, with numbers that JSON can say; an empty one for what is none."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not {*map(type, value)} <= {int, float}:
        return []
    try:
        numbers = [float(number) for number in value]
    except OverflowError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def read_usage(value: object) -> Usage | None:
    """The prompt's tokens in a ``usage`` member; some servers say the total alone."""
    if not isinstance(value, dict):
        return None
    prompt = value.get("prompt_tokens")
    if type(prompt) is not int:
        prompt = value.get("total_tokens")
    return Usage(prompt, 0) if type(prompt) is int and 0 <= prompt <= MAX_TOKENS else None


def usage_document(usage: Usage) -> dict[str, int]:
    """The wire's ``usage`` object: nothing is generated."""
    return {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens}


def in_form(body: bytes, request: EmbeddingsRequest) -> bytes:
    """An answer with its vectors in the form that the caller asked for."""
    begins = b'"' if request.format == BASE64 else b"["
    if all(bytes(one.embedding).startswith(begins) for one in _decode_clean(body).data):
        return body
    document = orjson.loads(body)
    change = to_base64 if request.format == BASE64 else to_floats
    for one in document["data"]:
        one["embedding"] = change(one["embedding"])
    return orjson.dumps(document)


def to_base64(vector: list[float] | str) -> str:
    """A vector as the base64 of 32-bit floats, little-endian."""
    if isinstance(vector, str):
        return vector
    floats = array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats.tobytes()).decode()


def to_floats(vector: list[float] | str) -> list[float]:
    """A vector as numbers."""
    if isinstance(vector, list):
        return vector
    floats = array("f", base64.b64decode(vector))
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tolist()


def vectors_of(body: bytes) -> list[list[float]]:
    """The vectors in a whole answer, in the order of the inputs."""
    return [to_floats(one["embedding"]) for one in orjson.loads(body)["data"]]


def is_complete(body: bytes, request: EmbeddingsRequest) -> bool:
    """Whether an answer may be kept: what was read as one is whole."""
    return True


def split(body: bytes, usage: Usage, request: EmbeddingsRequest) -> list[Part]:
    """An answer as one part an input; ``usage`` is shared out among those that differ."""
    if len(request.inputs) == 1:
        return [Part(body, usage)]
    document = orjson.loads(body)
    firsts = request.first_places()
    shares = _share_out(usage, [request.inputs[place] for place in firsts])
    return [
        Part(
            orjson.dumps(
                {**document, "data": [{**one, "index": 0}], "usage": usage_document(shares[own])}
            ),
            shares[own],
        )
        for one, own in zip(document["data"], request.answered_by(firsts), strict=True)
    ]


def _share_out(usage: Usage, inputs: Sequence[Input]) -> list[Usage]:
    """A batch's tokens by different input: exact for ids that add up, else by length; estimates."""
    asked = [estimate_prompts([one]) for one in inputs]
    exact = all(isinstance(one, list) for one in inputs) and sum(asked) == usage.prompt_tokens
    shares = asked if exact else apportion(usage.prompt_tokens, asked)
    return [Usage(share, 0, estimated=True) for share in shares]


def merge(parts: Mapping[int, bytes], request: EmbeddingsRequest, envelope: int) -> bytes:
    """The answer to a whole batch, from the answer to each of its inputs, by position.

    Everything but data and usage is that of the part at ``envelope``. What stands twice counts once,
    as it is sent once.
    """
    documents = {place: orjson.loads(body) for place, body in parts.items()}
    count = len(request.inputs)
    data = [{**documents[place]["data"][0], "index": place} for place in range(count)]
    used = sum(documents[place]["usage"]["prompt_tokens"] for place in request.first_places())
    usage = usage_document(Usage(used, 0))
    return orjson.dumps({**documents[envelope], "data": data, "usage": usage})


def joined(bodies: Iterable[bytes], places: Sequence[int]) -> bytes:
    """One answer from those of several calls, which stand in the order of their inputs.

    ``places`` says for each input of the whole batch which of the answered ones it is.
    """
    documents = [orjson.loads(body) for body in bodies]
    data = [one for document in documents for one in document["data"]]
    used = sum(document["usage"]["prompt_tokens"] for document in documents)
    whole = [{**data[answered], "index": index} for index, answered in enumerate(places)]
    usage = usage_document(Usage(used, 0))
    return orjson.dumps({**documents[0], "data": whole, "usage": usage})
