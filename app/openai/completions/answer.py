"""A plain answer from an upstream: is it one, and what does the caller get of it?

A clean answer is passed on byte for byte. Anything that differs from the contract but can be read
(choices out of order, another ``id`` prefix, no usage) is mended; anything else is refused.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import orjson

from app.core.errors import UpstreamInvalid
from app.core.reply import Answer
from app.core.usage import Usage, estimate_bytes, read_usage
from app.openai import lenient_json
from app.openai.completions.bounds import prompt_estimate
from app.openai.completions.request import CompletionRequest
from app.openai.usage import UsageMembers

ID_PREFIX = "cmpl-"
OBJECT = "text_completion"


class _Choice(msgspec.Struct):
    text: str
    index: int
    finish_reason: str
    logprobs: msgspec.Raw


class _Clean(msgspec.Struct):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[_Choice]
    usage: UsageMembers
    error: None = None


_decode_clean = msgspec.json.Decoder(_Clean).decode


def read_answer(body: bytes, request: CompletionRequest, model: str, now: int) -> Answer:
    """The answer in an upstream's body; ``model`` is the name we asked it for, ``now`` unix seconds.

    Raises UpstreamInvalid where the body is not a completions answer to this request.
    """
    return _as_it_stands(body, request) or _mended(body, request, model, now)


def _as_it_stands(body: bytes, request: CompletionRequest) -> Answer | None:
    """The answer, where nothing at all needs mending."""
    try:
        clean = _decode_clean(body)
        if not body.isascii():
            body.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    choices = clean.choices
    if len(choices) != request.choices or not clean.id.startswith(ID_PREFIX):
        return None
    for position, choice in enumerate(choices):
        logprobs = bytes(choice.logprobs)
        if (
            choice.index != position
            or not choice.finish_reason
            or not (logprobs == b"null" or logprobs.startswith(b"{"))
        ):
            return None
    usage = clean.usage.read()
    return None if usage is None else Answer(body, clean.model, usage)


def _mended(body: bytes, request: CompletionRequest, model: str, now: int) -> Answer:
    try:
        document = lenient_json.decode(body)
    except lenient_json.NotJson:
        raise UpstreamInvalid("The upstream's answer is not valid JSON.") from None
    if not isinstance(document, dict) or document.get("error"):
        raise UpstreamInvalid("The upstream's answer is not a completion.")
    document["id"] = completion_id(document.get("id"), now)
    document["object"] = OBJECT
    document["created"] = whole_seconds(document.get("created"), now)
    if not isinstance(document.get("model"), str):
        document["model"] = model
    document["choices"] = choices = _mended_choices(document.get("choices"))
    check_count(len(choices), request)
    usage = read_usage(document.get("usage"))
    if usage is None:
        usage = estimate(request, sum(len(choice["text"].encode()) for choice in choices))
        document["usage"] = usage.document()
    else:
        document["usage"].update(usage.document())
    return Answer(encode(document), document["model"], usage)


def encode(document: dict[str, Any]) -> bytes:
    """JSON again. Raises UpstreamInvalid for what was nested deeper than can be written."""
    try:
        return orjson.dumps(document)
    except TypeError:
        raise UpstreamInvalid("The upstream's answer is nested too deeply.") from None


def _mended_choices(choices: Any) -> list[dict[str, Any]]:
    if not isinstance(choices, list) or not choices:
        raise UpstreamInvalid("The upstream's answer has no choices.")
    for position, choice in enumerate(choices):
        if not isinstance(choice, dict) or not isinstance(choice.get("text"), str):
            raise UpstreamInvalid("The upstream's answer has a choice without text.")
        if choice.setdefault("index", position) is None:
            choice["index"] = position
        mend_choice(choice)
    indexes = {choice["index"] for choice in choices}
    if len(indexes) != len(choices):
        raise UpstreamInvalid("The upstream's answer has two choices of one index.")
    if min(indexes) < 0 or max(indexes) >= len(choices):
        raise UpstreamInvalid("The upstream's answer has a choice index out of range.")
    return sorted(choices, key=lambda choice: int(choice["index"]))


def mend_choice(choice: dict[str, Any]) -> bool:
    """Bring index, finish reason and log-probabilities to the contract's types; whether any changed.

    Raises UpstreamInvalid where one of them cannot be read.
    """
    before = len(choice), choice.get("index"), choice.get("finish_reason")
    if choice.get("index") is None:
        choice["index"] = 0
    if type(choice["index"]) is not int:
        raise UpstreamInvalid("The upstream's answer has a choice index that is no number.")
    reason = choice.get("finish_reason") or None
    if reason is not None and not isinstance(reason, str):
        raise UpstreamInvalid("The upstream's answer has a finish reason that is no string.")
    choice["finish_reason"] = reason
    logprobs = choice.setdefault("logprobs", None)
    if logprobs is not None and not isinstance(logprobs, dict):
        raise UpstreamInvalid("The upstream's answer has log-probabilities that are no object.")
    return before != (len(choice), choice["index"], reason)


def check_count(count: int, request: CompletionRequest) -> None:
    """Refuse an answer whose choices cannot be told apart by the index rule.

    A server that ignores ``n`` gives one prompt fewer choices: they are still its own. With several
    prompts a wrong number would give one prompt the answer of another.
    """
    expected = request.choices
    if count == expected or (count < expected and len(request.prompts) <= 1):
        return
    raise UpstreamInvalid(f"The upstream gave {count} choices where {expected} were asked for.")


def completion_id(value: object, now: int) -> str:
    """The upstream's id, with the prefix of completions."""
    if not isinstance(value, str) or not value:
        return f"{ID_PREFIX}{now}"
    return value if value.startswith(ID_PREFIX) else ID_PREFIX + value


def whole_seconds(value: object, now: int) -> int:
    """The upstream's ``created``, or ours."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return now
    return int(value) if 0 < value < 1e11 else now


def estimate(request: CompletionRequest, text_bytes: int) -> Usage:
    """What a request and its answer probably used, where the upstream does not say."""
    return Usage(prompt_estimate(request), estimate_bytes(text_bytes), estimated=True)
