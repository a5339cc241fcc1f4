"""The bodies of requests: the tables of checks (``FIELDS``), with a sentence for each field."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from app.messages.request import FIELDS as MESSAGE_FIELDS
from app.openai.chat.request import FIELDS as CHAT_FIELDS
from app.openai.chat.request import NESTED as CHAT_NESTED
from app.openai.completions.request import FIELDS as COMPLETION_FIELDS
from app.openai.embeddings.request import FIELDS as EMBEDDING_FIELDS
from app.openai.messages import messages_problems
from app.openai.shown import Schema, object_of, or_null, schema_of

# A sentence for each field; where families differ, the family's own goes before.
MEANINGS: Mapping[str, str] = {
    "model": "The alias of a model: see `GET /v1/models`.",
    "prompt": 'A text, texts, token ids, or lists of token ids; `""` is a prompt.',
    "messages": "The conversation. In a completions request it stands in place of `prompt`.",
    "input": "A text, texts, token ids, or lists of token ids; none of them empty.",
    "max_tokens": "The most tokens to generate.",
    "max_completion_tokens": "The most tokens to generate; beside `max_tokens` it must be equal.",
    "temperature": "0 always gives the most likely token; higher is more varied.",
    "top_p": "Sample only from the most likely tokens that have this much probability together.",
    "n": "Choices for each prompt.",
    "best_of": "Generate so many and return the `n` most likely; 0 is absent.",
    "stream": "Send the answer as server-sent events, as it is made.",
    "stream_options": "Only with `stream`: `include_usage` adds an event with the usage.",
    "stop": "Where to stop; the sequence itself is not part of the answer. `[]` is absent.",
    "suffix": "What follows the gap: fill in the middle between `prompt` and this.",
    "echo": "Begin each choice with its prompt.",
    "logprobs": "Give the log-probabilities of the tokens.",
    "top_logprobs": "Only with `logprobs: true`: so many alternatives for each token.",
    "frequency_penalty": "Above 0: tokens that came often become less likely.",
    "presence_penalty": "Above 0: tokens that came at all become less likely.",
    "logit_bias": "Token ids, and how much more or less likely each becomes.",
    "seed": "The same seed and request should give the same answer.",
    "user": "A name of yours for the end user, passed on to the provider.",
    "tools": "What the model may call.",
    "tool_choice": "Only with `tools`: whether it may, must or must not call one.",
    "parallel_tool_calls": "Only with `tools`: whether it may call several at once.",
    "functions": "The older form of `tools`.",
    "function_call": "The older form of `tool_choice`.",
    "response_format": "The form of the answer: text, JSON, or JSON that fits a schema.",
    "modalities": "Text, audio or both.",
    "audio": "Voice and format of spoken answers.",
    "prediction": "Text that the answer is expected to repeat.",
    "reasoning_effort": "How much a reasoning model thinks first.",
    "verbosity": "How long the answer is meant to be.",
    "metadata": "Names and values of yours, passed on to the provider.",
    "store": "Whether the provider may keep the answer.",
    "service_tier": "The provider's class of service.",
    "safety_identifier": "A name of yours for the end user, for the provider's checks.",
    "prompt_cache_key": "A hint for the provider's own cache of prompts.",
    "web_search_options": "Options of the provider's own search.",
    "dimensions": "The length of the vectors, where the model can choose it.",
    "encoding_format": "Numbers, or base64 of 32-bit floats in little-endian order.",
}
OWN_MEANINGS: Mapping[str, Mapping[str, str]] = {
    "CompletionRequest": {
        "max_tokens": "The most tokens to generate; 16 when absent.",
        "logprobs": "So many alternatives, with log-probabilities, for each token.",
    },
    "EmbeddingsRequest": {"stream": "Embeddings are not streamed: leave it out, or false."},
}
Checks = Mapping[str, Callable[[Any], Any]]
REQUESTS: Mapping[str, tuple[Checks, tuple[str, ...]]] = {
    "CompletionRequest": ({**COMPLETION_FIELDS, "messages": messages_problems}, ("model",)),
    "ChatRequest": ({**CHAT_FIELDS, **CHAT_NESTED}, ("model", "messages")),
    "EmbeddingsRequest": (EMBEDDING_FIELDS, ("model", "input")),
}


def request_schemas() -> dict[str, Schema]:
    """Each family's body by its component's name."""
    schemas = {name: _body(name, *parts) for name, parts in REQUESTS.items()}
    schemas["CompletionRequest"]["oneOf"] = [
        _one_of_two("prompt", "messages"),
        _one_of_two("messages", "prompt"),
    ]
    schemas["FeedbackRequest"] = object_of(
        {"id": {"type": "string"}, "verdict": {"enum": ["bad", "good"]}}
    ) | {"additionalProperties": False}
    schemas["MessagesRequest"] = _messages()
    schemas["TokenizeRequest"] = object_of({}, {"model": {"type": "string"}}) | {
        "description": "The server's own body; `model` may be left out where the key has one."
    }
    return schemas


def _body(name: str, checks: Checks, required: Iterable[str]) -> Schema:
    must = list(required)
    properties = {
        field: (schema_of(check) if field in must else or_null(schema_of(check)))
        | _told(name, field)
        for field, check in checks.items()
    }
    return {
        "type": "object",
        "properties": properties,
        "required": must,
        "additionalProperties": True,
        "description": "Members that are not listed here are forwarded untouched.",
    }


def _messages() -> Schema:
    """Anthropic's request: its own page has what a block may be."""
    listed: Schema = {"type": "array", "items": {"type": "object"}}
    checked = {name: schema_of(check) for name, check in MESSAGE_FIELDS.items()}
    said: Schema = {"anyOf": [{"type": "string"}, listed]}
    required = {name: checked.pop(name) for name in ("model", "max_tokens")}
    return object_of(
        required | {"messages": listed | {"minItems": 1}},
        checked | {"system": said, "tools": listed},
    )


def _one_of_two(sent: str, absent: str) -> Schema:
    properties = {sent: {"not": {"type": "null"}}, absent: {"type": "null"}}
    return {"required": [sent], "properties": properties}


def _told(name: str, field: str) -> Schema:
    return {"description": OWN_MEANINGS.get(name, {}).get(field) or MEANINGS[field]}
