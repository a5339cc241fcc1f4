"""A plain chat answer from an upstream: is it one, and what does the caller get of it?

A clean answer is passed on byte for byte. Anything that differs from the contract but can be read
(choices out of order, arguments that are no text, no usage) is mended; anything else is refused.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import orjson

from app.core.errors import UpstreamInvalid
from app.core.reply import Answer
from app.core.usage import Usage, estimate_bytes, read_usage
from app.openai import lenient_json
from app.openai.chat.bounds import prompt_estimate
from app.openai.chat.request import ChatRequest
from app.openai.completions.answer import encode, whole_seconds
from app.openai.usage import UsageMembers

ID_PREFIX = "chatcmpl-"
OBJECT = "chat.completion"

# Members of a message, or of a delta, that are text of the model's; servers have two names for what
# a model reasons (DeepSeek and vLLM `reasoning_content`, OpenRouter and newer vLLM `reasoning`).
TEXTS = ("content", "reasoning_content", "reasoning", "refusal")


class _Function(msgspec.Struct):
    name: str
    arguments: str


class _ToolCall(msgspec.Struct):
    id: str
    type: Literal["function"]
    function: _Function


class _Message(msgspec.Struct):
    role: Literal["assistant"]
    content: str | None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    index: int
    message: _Message
    finish_reason: str
    logprobs: msgspec.Raw = msgspec.Raw(b"null")


class _Clean(msgspec.Struct):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[_Choice]
    usage: UsageMembers
    error: None = None


_decode_clean = msgspec.json.Decoder(_Clean).decode


def read_answer(body: bytes, request: ChatRequest, model: str, now: int) -> Answer:
    """The answer in an upstream's body; ``model`` is the name we asked it for, ``now`` unix seconds.

    Raises UpstreamInvalid where the body is not a chat answer to this request.
    """
    return _as_it_stands(body, request) or _mended(body, request, model, now)


def _as_it_stands(body: bytes, request: ChatRequest) -> Answer | None:
    """The answer, where nothing at all needs mending."""
    try:
        clean = _decode_clean(body)
        if not body.isascii():
            body.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if len(clean.choices) != request.n or not clean.id.startswith(ID_PREFIX):
        return None
    for position, choice in enumerate(clean.choices):
        logprobs = bytes(choice.logprobs)
        if (
            choice.index != position
            or not choice.finish_reason
            or not (logprobs == b"null" or logprobs.startswith(b"{"))
            or not all(call.id and call.function.name for call in choice.message.tool_calls or ())
        ):
            return None
    usage = clean.usage.read()
    return None if usage is None else Answer(body, clean.model, usage)


def _mended(body: bytes, request: ChatRequest, model: str, now: int) -> Answer:
    try:
        document = lenient_json.decode(body)
    except lenient_json.NotJson:
        raise UpstreamInvalid("The upstream's answer is not valid JSON.") from None
    if not isinstance(document, dict) or document.get("error"):
        raise UpstreamInvalid("The upstream's answer is not a chat completion.")
    document["id"] = chat_id(document.get("id"), now)
    document["object"] = OBJECT
    document["created"] = whole_seconds(document.get("created"), now)
    if not isinstance(document.get("model"), str):
        document["model"] = model
    document["choices"] = choices = _mended_choices(document.get("choices"), document["id"])
    if len(choices) > request.n:
        raise UpstreamInvalid(
            f"The upstream gave {len(choices)} choices where {request.n} were asked for."
        )
    usage = read_usage(document.get("usage"))
    if usage is None:
        usage = estimate(request, sum(said_bytes(choice["message"]) for choice in choices))
        document["usage"] = usage.document()
    else:
        document["usage"] = usage.over(document["usage"])
    return Answer(encode(document), document["model"], usage)


def _mended_choices(choices: Any, id: str) -> list[dict[str, Any]]:
    if not isinstance(choices, list) or not choices:
        raise UpstreamInvalid("The upstream's answer has no choices.")
    for position, choice in enumerate(choices):
        if isinstance(choice, dict) and choice.get("finish_reason") == "content_filter":
            choice.setdefault("message", {"role": "assistant", "content": ""})  # as Azure leaves it
        if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
            raise UpstreamInvalid("The upstream's answer has a choice without a message.")
        if choice.setdefault("index", position) is None:
            choice["index"] = position
        mend_choice(choice)
        mend_texts(choice["message"])
        choice["message"]["role"] = "assistant"
        choice["message"].setdefault("content", None)
        _mend_calls(choice["message"], f"{id}_{choice['index']}")
    indexes = {choice["index"] for choice in choices}
    if len(indexes) != len(choices):
        raise UpstreamInvalid("The upstream's answer has two choices of one index.")
    if min(indexes) < 0 or max(indexes) >= len(choices):
        raise UpstreamInvalid("The upstream's answer has a choice index out of range.")
    return sorted(choices, key=lambda choice: int(choice["index"]))


def mend_choice(choice: dict[str, Any]) -> bool:
    """Bring index and finish reason to the contract's types; whether any changed.

    Raises UpstreamInvalid where one of them, or the log-probabilities, cannot be read.
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
    logprobs = choice.get("logprobs")
    if logprobs is not None and not isinstance(logprobs, dict):
        raise UpstreamInvalid("The upstream's answer has log-probabilities that are no object.")
    return before != (len(choice), choice["index"], reason)


def mend_texts(message: dict[str, Any]) -> bool:
    """Make text of content in parts; whether anything changed. Raises UpstreamInvalid."""
    changed = False
    for name in TEXTS:
        value = message.get(name)
        if value is None or type(value) is str:
            continue
        if not isinstance(value, list):
            raise UpstreamInvalid(f"The upstream's answer has a message whose {name} is no text.")
        texts = [part.get("text") or "" for part in value if isinstance(part, dict)]
        if not all(isinstance(text, str) for text in texts):
            raise UpstreamInvalid(f"The upstream's answer has a message whose {name} is no text.")
        message[name] = "".join(texts)
        changed = True
    return changed


def mend_call(call: dict[str, Any]) -> bool:
    """Say of a tool call, or of a piece of one, what kind it is, and its arguments as text.

    Some servers send the arguments as an object. Whether anything changed. Raises UpstreamInvalid.
    """
    function = call.get("function")
    if function is None:
        return False
    if not isinstance(function, dict):
        raise UpstreamInvalid("The upstream's answer has a tool call that cannot be read.")
    arguments = function.get("arguments")
    changed = False
    if arguments is not None and not isinstance(arguments, str):
        function["arguments"] = encode(arguments).decode()
        changed = True
    name = function.get("name")
    if name is not None and not isinstance(name, str):
        raise UpstreamInvalid("The upstream's answer has a tool call whose name is no string.")
    return changed


def _mend_calls(message: dict[str, Any], owner: str) -> None:
    calls = message.get("tool_calls")
    if calls is None:
        message.pop("tool_calls", None)
        return
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise UpstreamInvalid("The upstream's answer has tool calls that are no list of objects.")
    for position, call in enumerate(calls):
        mend_call(call)
        if not isinstance(call.get("id"), str) or not call["id"]:
            call["id"] = call_id(owner, position)
        if isinstance(call.get("function"), dict):
            call["type"] = "function"
            if not call["function"].get("name"):
                raise UpstreamInvalid("The upstream's answer has a tool call without a name.")
            if call["function"].get("arguments") is None:
                call["function"]["arguments"] = "{}"


def call_id(owner: str, position: int) -> str:
    """The id of a tool call for which its upstream has none, in one choice of one answer."""
    return f"call_{owner.removeprefix(ID_PREFIX)}_{position}"


def said_bytes(message: dict[str, Any]) -> int:
    """How much text a message, or a delta, holds, in bytes."""
    total = 0
    for name in TEXTS:
        text = message.get(name)
        if text:
            total += len(text) if text.isascii() else len(text.encode())
    for name in ("tool_calls", "function_call", "audio"):
        if message.get(name):
            total += len(orjson.dumps(message[name]))
    return total


def chat_id(value: object, now: int) -> str:
    """The upstream's id, with the prefix of chat completions."""
    if not isinstance(value, str) or not value:
        return f"{ID_PREFIX}{now}"
    return value if value.startswith(ID_PREFIX) else ID_PREFIX + value


def estimate(request: ChatRequest, said: int) -> Usage:
    """What a request and its answer probably used, where the upstream does not say."""
    return Usage(prompt_estimate(request), estimate_bytes(said), estimated=True)
