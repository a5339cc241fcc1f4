"""Completions on a chat-only model: one request as chat calls, their answers as one completion.

Nothing that was asked is dropped in silence: what chat cannot do is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson

from app.core.errors import InvalidRequest, Problem, UpstreamInvalid
from app.openai.completions.answer import OBJECT, completion_id, whole_seconds
from app.openai.completions.choice_index import ChoiceIndex
from app.openai.completions.request import CompletionRequest
from app.openai.neutral import asks

_REASONS = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "safety": "content_filter",
}
# Chat parameters whose answers have no place in a completion's text.
_ANSWERED_ELSEWHERE = ("tools", "functions", "audio", "modalities")
# Members that the bridge writes itself.
_REWRITTEN = (
    "prompt",
    "messages",
    "echo",
    "logprobs",
    "best_of",
    "n",
    "max_tokens",
    "max_completion_tokens",
    "stream_options",
)


class BridgedRequest:
    """A completions request as one chat request: the caller's members, some of them ``changed``."""

    __slots__ = ("_changed", "_request")

    def __init__(self, request: CompletionRequest, changed: dict[str, bytes]) -> None:
        self._request = request
        self._changed = changed

    @property
    def document(self) -> dict[str, Any]:
        document = self._request.document
        kept = {name: value for name, value in document.items() if name not in self._changed}
        changed = self._changed.items()
        return kept | {name: orjson.loads(value) for name, value in changed if value}

    @property
    def stream_options(self) -> dict[str, Any]:
        return self._request.stream_options

    def body_for(self, model: str, changes: dict[str, bytes] | None = None) -> bytes:
        """The chat body; made when it is asked for, as it can be large."""
        return self._request.body_for(model, self._changed | (changes or {}))


class ChatCall(NamedTuple):
    """One chat call: its request, the index of its first choice, how many, and the text to echo."""

    request: BridgedRequest
    first_index: int
    choices: int
    echo: str


def refuse_unsupported(request: CompletionRequest, unsupported: Iterable[str]) -> None:
    """Raises InvalidRequest naming every field that a chat call cannot honour."""
    problems = [Problem(name, f"`{name}` {why}.") for name, why in _refusals(request, unsupported)]
    if problems:
        raise InvalidRequest.of(problems, code="unsupported_parameter")


def _refusals(request: CompletionRequest, unsupported: Iterable[str]) -> Iterable[tuple[str, str]]:
    document = request.document
    if request.best_of > request.n:
        yield "best_of", "greater than `n` cannot be honoured by a chat model"
    if "suffix" in document:
        yield "suffix", "cannot be honoured by a chat model"
    if any(not isinstance(prompt, str) for prompt in request.prompts):
        yield "prompt", "as token ids cannot be sent to a chat model"
    if request.echo and request.logprobs is not None:
        yield "logprobs", "together with `echo` cannot be honoured by a chat model"
    if request.echo and request.messages is not None:
        yield "echo", "goes only with `prompt`"
    if request.max_tokens == 0:
        yield "max_tokens", "of 0 cannot be honoured by a chat model"
    for name in _ANSWERED_ELSEWHERE:
        if name in document:
            yield name, "has no place in a completion; use the chat endpoint"
    for name in unsupported:
        if asks(document, name) and name != "n":
            yield name, "is not supported by the model's provider"


class ChatPlan:
    """The chat calls whose choices together are the answer, in index order.

    Each is made when its turn comes: all at once would multiply the caller's body by the prompts.
    """

    def __init__(
        self, request: CompletionRequest, unsupported: frozenset[str], max_tokens_field: str
    ) -> None:
        self._request = request
        self._changes = _changes(request, max_tokens_field)
        self._each, self._times = (1, request.n) if "n" in unsupported else (request.n, 1)
        if self._each > 1:
            self._changes["n"] = b"%d" % self._each

    def __len__(self) -> int:
        return max(1, len(self._request.prompts)) * self._times

    def __iter__(self) -> Iterator[ChatCall]:
        for place in range(len(self)):
            conversation, echo = self._conversation(place // self._times)
            changes = self._changes | {"messages": orjson.dumps(conversation)}
            chat = BridgedRequest(self._request, changes)
            yield ChatCall(chat, place * self._each, self._each, echo)

    def _conversation(self, place: int) -> tuple[Any, str]:
        request = self._request
        if request.messages is not None:
            return request.messages, ""
        prompt = request.prompts[place]
        return [{"role": "user", "content": prompt}], str(prompt) if request.echo else ""


def _changes(request: CompletionRequest, max_tokens_field: str) -> dict[str, bytes]:
    """What every chat call is sent otherwise than the caller wrote it."""
    changes: dict[str, bytes] = dict.fromkeys(_REWRITTEN, b"")
    changes[max_tokens_field] = b"%d" % request.max_tokens
    if request.logprobs is not None:
        changes["logprobs"] = b"true"
        if request.logprobs:
            changes["top_logprobs"] = b"%d" % request.logprobs
    if request.stream and request.stream_options:
        changes["stream_options"] = orjson.dumps(request.stream_options)
    return changes


def completion_of(answers: list[tuple[ChatCall, dict[str, Any]]], now: int) -> dict[str, Any]:
    """One completion from the chat answers to all calls, in the order of the calls.

    Raises UpstreamInvalid where an answer is no chat completion or lacks choices.
    """
    choices: list[dict[str, Any]] = []
    for call, document in answers:
        choices += _choices_of(call, document)
    first = answers[0][1]
    usage = add_usage([document.get("usage") for _, document in answers])
    kept = {
        name: value
        for name, value in first.items()
        if name not in ("id", "object", "created", "choices", "usage")
    }
    return {
        "id": _id(first, now),
        "object": OBJECT,
        "created": whole_seconds(first.get("created"), now),
        **kept,
        "choices": choices,
        **({"usage": usage} if usage else {}),
    }


def _choices_of(call: ChatCall, document: dict[str, Any]) -> list[dict[str, Any]]:
    chat_choices = document.get("choices")
    if document.get("error") or not isinstance(chat_choices, list):
        raise UpstreamInvalid("The upstream's answer is not a chat completion.")
    if len(chat_choices) != call.choices:
        raise UpstreamInvalid(
            f"The upstream gave {len(chat_choices)} choices where {call.choices} were asked for."
        )
    by_index: dict[int, dict[str, Any]] = {}
    for position, choice in enumerate(chat_choices):
        if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
            raise UpstreamInvalid("The upstream's answer has a choice without a message.")
        index = choice.get("index", position)
        if type(index) is not int or not 0 <= index < call.choices or index in by_index:
            raise UpstreamInvalid("The upstream's answer has a choice index that cannot be.")
        message = choice["message"]
        by_index[index] = {
            "text": call.echo + _text(message),
            "index": call.first_index + index,
            "logprobs": legacy_logprobs(choice.get("logprobs"), 0)[0],
            "finish_reason": finish_reason(choice.get("finish_reason")) or "stop",
        }
    return [by_index[index] for index in sorted(by_index)]


class ChunkBridge:
    """The chunks of one chat call as completions chunks; keeps text offsets per choice."""

    __slots__ = ("_call", "_finished", "_index", "_offsets", "usage")

    def __init__(self, call: ChatCall) -> None:
        self._call = call
        self._index = ChoiceIndex(call.choices)
        self._offsets: dict[int, int] = {}
        self._finished: set[int] = set()
        self.usage: dict[str, Any] | None = None

    def chunk(self, chunk: Any) -> dict[str, Any] | None:
        """A completions chunk, or None where the chat chunk says nothing a completion has.

        Raises UpstreamInvalid.
        """
        if not isinstance(chunk, dict) or chunk.get("error"):
            raise UpstreamInvalid("The upstream broke off its stream with an error.")
        if isinstance(chunk.get("usage"), dict):
            self.usage = chunk["usage"]
        listed = chunk.get("choices") or ()
        if not isinstance(listed, list | tuple):
            raise UpstreamInvalid("The upstream sent a stream event whose choices are no list.")
        choices = [self._choice(choice, alone=len(listed) == 1) for choice in listed]
        kept = [choice for choice in choices if choice is not None]
        if not kept:
            return None
        rest = {name: value for name, value in chunk.items() if name not in ("usage", "object")}
        if isinstance(rest.get("id"), str):
            rest["id"] = rest["id"].removeprefix("chatcmpl-")
        return rest | {"choices": kept}

    def end(self, *, said_done: bool = False) -> dict[str, Any] | None:
        """A last chunk where the upstream forgot it: the only choice of a stream that ``said_done``
        has stopped, as that of a plain answer has.

        Raises UpstreamInvalid where the stream ended before every choice was finished.
        """
        if len(self._finished) == self._call.choices:
            return None
        if not (said_done and self._offsets and self._call.choices == 1):
            raise UpstreamInvalid("The upstream ended its stream before every choice was finished.")
        index = self._call.first_index
        choice = {"text": "", "index": index, "logprobs": None, "finish_reason": "stop"}
        return {"choices": [choice]}

    def _choice(self, choice: Any, *, alone: bool) -> dict[str, Any] | None:
        if not isinstance(choice, dict):
            raise UpstreamInvalid("The upstream sent a choice that is not an object.")
        index = choice.get("index", 0)
        if type(index) is not int:
            raise UpstreamInvalid("The upstream sent a choice index that cannot be.")
        index = self._index.of(index, may_go_on=alone and not self._finished)
        delta = choice.get("delta") or choice.get("message") or {}
        if not isinstance(delta, dict):
            raise UpstreamInvalid("The upstream sent a choice whose delta is no object.")
        text = _text(delta)
        if index not in self._offsets:
            self._offsets[index] = 0
            text = self._call.echo + text
        logprobs, self._offsets[index] = legacy_logprobs(
            choice.get("logprobs"), self._offsets[index]
        )
        reason = finish_reason(choice.get("finish_reason"))
        if reason is not None:
            self._finished.add(index)
        if not text and reason is None and logprobs is None:
            return None
        return {
            "text": text,
            "index": self._call.first_index + index,
            "logprobs": logprobs,
            "finish_reason": reason,
        }


def finish_reason(reason: Any) -> str | None:
    """A chat finish reason as one of stop, length, content_filter; None while unfinished."""
    if not reason:
        return None
    return _REASONS.get(reason, "stop") if isinstance(reason, str) else "stop"


def legacy_logprobs(logprobs: Any, offset: int) -> tuple[dict[str, Any] | None, int]:
    """Chat log-probabilities in the completions' shape, and the text offset after them."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list) or not content:
        return None, offset
    shape: dict[str, list[Any]] = {
        "tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": [],
    }  # fmt: skip
    for entry in content:
        if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
            raise UpstreamInvalid("The upstream sent log-probabilities that cannot be read.")
        top = _top_logprobs(entry.get("top_logprobs") or ())
        shape["tokens"].append(entry["token"])
        shape["token_logprobs"].append(entry.get("logprob"))
        shape["top_logprobs"].append(top)
        shape["text_offset"].append(offset)
        offset += len(entry["token"])
    return dict(shape), offset


def _top_logprobs(items: Any) -> dict[str, Any]:
    try:
        return {item["token"]: item["logprob"] for item in items}
    except (TypeError, KeyError):
        raise UpstreamInvalid("The upstream sent log-probabilities that cannot be read.") from None


def add_usage(parts: list[Any]) -> dict[str, Any] | None:
    """The sum of usage objects, details included; None where one of them is missing."""
    if not parts or any(not isinstance(part, dict) for part in parts):
        return None
    total: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            before = total.get(name)
            if isinstance(value, dict):
                total[name] = add_usage([before, value] if isinstance(before, dict) else [value])
            elif _counted(value) and _counted(before):
                total[name] = before + value
            elif before is None:
                total[name] = value
    return total


def _counted(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    if content is None:
        content = message.get("refusal") or ""
    if isinstance(content, list):
        texts = [part.get("text") or "" for part in content if isinstance(part, dict)]
        content = "".join(texts) if all(isinstance(text, str) for text in texts) else None
    if not isinstance(content, str):
        raise UpstreamInvalid("The upstream's answer has a message whose content is no text.")
    return content


def _id(document: dict[str, Any], now: int) -> str:
    value = document.get("id")
    return completion_id(value.removeprefix("chatcmpl-") if isinstance(value, str) else value, now)
