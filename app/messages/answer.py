"""A plain chat answer as a message, and errors in Anthropic's envelope. Pure.

Source: https://docs.anthropic.com/en/api/messages and https://docs.anthropic.com/en/api/errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from app.core.usage import NOTHING, Usage, read_usage
from app.openai.chat.answer import ID_PREFIX
from app.openai.chat.request import ChatRequest

_REASONS = {
    "length": "max_tokens",
    "max_tokens": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def message(body: bytes, request: ChatRequest) -> bytes:
    """The message in a chat answer, which has one choice."""
    document = orjson.loads(body)
    choice = document["choices"][0]
    said = choice["message"]
    blocks = [*_thoughts(said)]
    blocks += [
        {"type": "text", "text": said[name]} for name in ("content", "refusal") if said.get(name)
    ]
    calls = [call for call in said.get("tool_calls") or () if call.get("function")]
    blocks += [tool_use(call["id"], call["function"]) for call in calls]
    usage = read_usage(document["usage"]) or NOTHING
    return orjson.dumps(
        envelope(document)
        | {"content": blocks}
        | ending(choice, request, called=bool(calls))
        | {"usage": usage_of(usage)}
    )


def envelope(document: Mapping[str, Any]) -> dict[str, Any]:
    """The head of a message, of an answer's or a chunk's."""
    known = str(document["id"]).removeprefix(ID_PREFIX).removeprefix("msg_")
    return {
        "id": f"msg_{known}",
        "type": "message",
        "role": "assistant",
        "model": document["model"],
    }


def ending(
    choice: Mapping[str, Any], request: ChatRequest, *, called: bool
) -> dict[str, str | None]:
    """Why it ended. Some servers call tools and say that they came to the end."""
    reason = str(choice.get("finish_reason") or "stop")
    stop = choice.get("stop_reason")  # vLLM's name for the sequence that it stopped at
    stops = request.document.get("stop") or ()
    if reason == "stop" and called:
        return {"stop_reason": "tool_use", "stop_sequence": None}
    if reason == "stop" and isinstance(stop, str) and stop in stops:
        return {"stop_reason": "stop_sequence", "stop_sequence": stop}
    return {"stop_reason": _REASONS.get(reason, "end_turn"), "stop_sequence": None}


def usage_of(usage: Usage) -> dict[str, Any]:
    """Anthropic counts what went from and to the prompt cache apart from the rest of the prompt."""
    apart = usage.cached_tokens + usage.cache_write_tokens
    thought = usage.reasoning_tokens
    details = {"output_tokens_details": {"thinking_tokens": thought}} if thought else {}
    return details | {
        "input_tokens": usage.prompt_tokens - apart,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens + usage.uncounted_tokens,
    }


def tool_use(id: str, function: Mapping[str, Any]) -> dict[str, Any]:
    """A call of a tool. Arguments that a limit cut off are no JSON: they go under one name, as
    Anthropic's own page on fine-grained streaming of tools has it."""
    text = function.get("arguments") or "{}"
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        given = {"INVALID_JSON": text}
    return {"type": "tool_use", "id": id, "name": function["name"], "input": given}


def error_body(envelope: Mapping[str, Any], status: int, request_id: str) -> bytes:
    """An error of ours in Anthropic's envelope; our own members stay beside its two."""
    found = envelope.get("error")
    ours = dict(found) if isinstance(found, Mapping) else {"message": "The gateway failed."}
    default = "invalid_request_error" if status < 500 else "api_error"
    error = ours | {"type": _TYPES.get(status, default)}
    return orjson.dumps({"type": "error", "error": error, "request_id": request_id})


def _thoughts(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Thoughts as blocks: with their signatures where the provider signed them."""
    blocks: list[dict[str, Any]] = []
    for detail in said.get("reasoning_details") or ():
        if not isinstance(detail, dict):
            continue
        if detail.get("type") == "reasoning.encrypted" and detail.get("data"):
            blocks.append({"type": "redacted_thinking", "data": detail["data"]})
        elif detail.get("type") == "reasoning.text" and detail.get("signature"):
            blocks.append(_thinking(detail.get("text") or "", detail["signature"]))
    thought = said.get("reasoning_content") or said.get("reasoning")
    if thought and not any(block["type"] == "thinking" for block in blocks):
        blocks.insert(0, _thinking(thought, ""))
    return blocks


def _thinking(text: str, signature: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": signature}
