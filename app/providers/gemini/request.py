"""A chat request in Gemini's words. Pure.

Source: https://ai.google.dev/api/generate-content; for the levels of thinking
https://ai.google.dev/gemini-api/docs/openai; for thought signatures
https://ai.google.dev/gemini-api/docs/thought-signatures.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from typing import Any

from app.openai.neutral import asks
from app.providers.translation.base import Asked
from app.providers.translation.conversation import (
    Media,
    Part,
    Text,
    ToolCall,
    ToolResult,
    Turn,
    read_conversation,
)
from app.providers.translation.problems import Problems
from app.providers.translation.tools import Tools, read_schema, read_tools

HONOURED = frozenset(
    "max_tokens max_completion_tokens temperature top_p top_k n stop seed presence_penalty "
    "frequency_penalty logprobs top_logprobs response_format tools tool_choice "
    "reasoning_effort".split()
)
OWN_CALL_ID = "call_hg_"  # ids that the API did not give: it is not told of them
_SAME = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "n": "candidateCount",
}
MAX_CANDIDATES = 8
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
_LEVELS = {"minimal": "minimal", "low": "low", "medium": "medium", "high": "high"}
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}
_AUDIO = {"audio/mp3": "audio/mp3", "audio/wav": "audio/wav"}
# For a call that another model made, or whose signature the caller did not keep (Gemini 3 refuses
# a call without one): the value that Google names for it.
NO_SIGNATURE = "skip_thought_signature_validator"


def generate_request(asked: Asked) -> dict[str, Any]:
    """The body for ``:generateContent``. Raises InvalidRequest naming what cannot be honoured."""
    document = asked.document
    problems = Problems()
    problems.refuse_members(document, HONOURED)
    conversation = read_conversation(document["messages"], problems)
    writer = _Parts(problems, signed=asked.model.startswith("gemini-3"))
    contents = [content for turn in conversation.turns if (content := writer.content(turn))]
    body: dict[str, Any] = {"contents": contents}
    if conversation.system:
        body["systemInstruction"] = {"parts": [{"text": text.text} for text in conversation.system]}
    _tools(read_tools(document, problems), document, body)
    config = _config(asked, problems)
    if config:
        body["generationConfig"] = config
    problems.raise_any()
    return body


def _config(asked: Asked, problems: Problems) -> dict[str, Any]:
    document = asked.document
    config: dict[str, Any] = {
        theirs: document[ours] for ours, theirs in _SAME.items() if asks(document, ours)
    }
    if config.get("candidateCount", 1) > MAX_CANDIDATES:
        problems.add("n", f"must be at most {MAX_CANDIDATES} for the model's provider")
    limit = document.get("max_completion_tokens")
    limit = limit if limit is not None else document.get("max_tokens")
    if limit is not None:
        config["maxOutputTokens"] = limit
    stop = document.get("stop")
    if stop:
        config["stopSequences"] = [stop] if isinstance(stop, str) else list(stop)
    if document.get("logprobs"):
        config["responseLogprobs"] = True
        if document.get("top_logprobs"):
            config["logprobs"] = document["top_logprobs"]
    schema = read_schema(document, problems)
    if schema is not None:
        config["responseMimeType"] = "application/json"
        config["responseJsonSchema"] = schema["schema"]
    elif asks(document, "response_format"):
        config["responseMimeType"] = "application/json"
    thinking = _thinking(document, asked.model, problems)
    if thinking:
        config["thinkingConfig"] = thinking
    return config


def _thinking(document: Mapping[str, Any], model: str, problems: Problems) -> dict[str, Any]:
    effort = document.get("reasoning_effort")
    if effort is None:
        return {}
    if effort not in _BUDGETS:
        problems.add("reasoning_effort", f"must be one of {', '.join(_BUDGETS)}")
        return {}
    if not model.startswith("gemini-3"):
        thinking: dict[str, Any] = {"thinkingBudget": _BUDGETS[effort]}
    elif effort in _LEVELS:
        thinking = {"thinkingLevel": _LEVELS[effort]}
    else:
        problems.add("reasoning_effort", "cannot be none for this model")
        return {}
    return thinking | ({} if effort == "none" else {"includeThoughts": True})


def _tools(tools: Tools, document: Mapping[str, Any], body: dict[str, Any]) -> None:
    if not tools.tools:
        return
    declared = []
    for tool in tools.tools:
        described: dict[str, Any] = {"name": tool.name, "parametersJsonSchema": tool.parameters}
        if tool.description:
            described["description"] = tool.description
        declared.append(described)
    body["tools"] = [{"functionDeclarations": declared}]
    if document.get("tool_choice") is not None:
        calling: dict[str, Any] = {"mode": _MODES.get(tools.choice, "AUTO")}
        if tools.named:
            calling["allowedFunctionNames"] = [tools.named]
        body["toolConfig"] = {"functionCallingConfig": calling}


class _Parts:
    """Writes the parts of turns; ``signed``: the first call of a turn must carry a signature."""

    def __init__(self, problems: Problems, *, signed: bool) -> None:
        self._problems = problems
        self._signed = signed

    def content(self, turn: Turn) -> dict[str, Any] | None:
        parts: list[dict[str, Any]] = []
        for part in turn.parts:
            parts += self._part(part)
        if self._signed and turn.role == "assistant":
            calls = [part for part in parts if "functionCall" in part]
            if calls and "thoughtSignature" not in calls[0]:
                calls[0]["thoughtSignature"] = NO_SIGNATURE
        role = "model" if turn.role == "assistant" else "user"
        return {"role": role, "parts": parts} if parts else None

    def _part(self, part: Part) -> list[dict[str, Any]]:
        if isinstance(part, Text):
            return [{"text": part.text}]
        if isinstance(part, Media):
            return [self._media(part)]
        if isinstance(part, ToolCall):
            call: dict[str, Any] = {"name": part.name, "args": part.arguments} | _id(part.id)
            signature = {"thoughtSignature": part.signature} if part.signature else {}
            return [{"functionCall": call} | signature]
        if isinstance(part, ToolResult):
            return self._result(part)
        return []  # thoughts of another provider

    def _result(self, part: ToolResult) -> list[dict[str, Any]]:
        """A function's response is text; images of it follow as parts of the same turn."""
        text = "".join(inner.text for inner in part.parts if isinstance(inner, Text))
        response = {"name": part.name, "response": {"output": text}} | _id(part.call_id)
        media = [self._media(inner) for inner in part.parts if isinstance(inner, Media)]
        return [{"functionResponse": response}, *media]

    def _media(self, part: Media) -> dict[str, Any]:
        if part.url:
            guessed = mimetypes.guess_type(part.url.split("?")[0])[0] or "image/jpeg"
            return {"fileData": {"mimeType": guessed, "fileUri": part.url}}
        media_type = part.media_type
        if part.kind == "audio":
            media_type = _AUDIO.get(part.media_type, "")
            if not media_type:
                self._problems.add(f"{part.place}.input_audio.format", "must be wav or mp3")
        return {"inlineData": {"mimeType": media_type, "data": part.data}}


def _id(call_id: str) -> dict[str, str]:
    return {} if call_id.startswith(OWN_CALL_ID) else {"id": call_id}
