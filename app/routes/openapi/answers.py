"""The bodies of answers. What an upstream adds is kept, so that other members may stand there too."""

from __future__ import annotations

from app.openai.shown import Schema, object_of

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_OBJECT: Schema = {"type": "object"}
_DOLLARS: Schema = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "examples": ["0.0042"]}
_TIME: Schema = {"type": "string", "format": "date-time"}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _envelope(object_name: str, choices: Schema) -> dict[str, Schema]:
    return {
        "id": _TEXT,
        "object": {"const": object_name},
        "created": {"type": "integer", "description": "Unix seconds."},
        "model": {"type": "string", "description": "The upstream's name of what answered."},
        "choices": choices,
    }


def _events(schema: str) -> Schema:
    """One event of a stream; its ``data`` is JSON, and at the end of a whole stream ``[DONE]``."""
    json = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"anyOf": [_ref(schema), _ref("Error")]},
    }
    return {
        "type": "object",
        "description": (
            "One event: `data: {…}`. The last one is `data: [DONE]`. A failure after the first "
            'byte is `data: {"error": {…}}`, and no `[DONE]` follows.'
        ),
        "properties": {"data": {"anyOf": [{"const": "[DONE]"}, json]}},
        "required": ["data"],
    }


_USAGE = {"prompt_tokens": _COUNT, "completion_tokens": _COUNT, "total_tokens": _COUNT}
_CHOICE = {"index": _COUNT, "text": _TEXT}
_LOGPROBS = {"logprobs": _OBJECT}
_REASON = {"finish_reason": _TEXT}
_MESSAGE = object_of(
    {"role": {"const": "assistant"}},
    {"content": _TEXT, "refusal": _TEXT, "tool_calls": _list(_OBJECT)},
)
_DELTA = object_of({}, {"role": _TEXT, "content": _TEXT, "tool_calls": _list(_OBJECT)})
_VECTOR: Schema = {
    "anyOf": [_list(_NUMBER), {"type": "string", "description": "base64, as asked for"}]
}


def _calls() -> dict[str, Schema]:
    usage = {"usage": _ref("TokenUsage")}
    completion = object_of(_CHOICE, _LOGPROBS | _REASON)
    chat = object_of({"index": _COUNT, "message": _MESSAGE}, _LOGPROBS | _REASON)
    delta = object_of({"index": _COUNT, "delta": _DELTA}, _LOGPROBS | _REASON)
    vector = {"object": {"const": "embedding"}, "index": _COUNT, "embedding": _VECTOR}
    embeddings = {
        "object": {"const": "list"},
        "data": _list(object_of(vector)),
        "model": _TEXT,
        "usage": object_of({"prompt_tokens": _COUNT, "total_tokens": _COUNT}),
    }
    return {
        "TokenUsage": object_of(_USAGE),
        "Completion": object_of(_envelope("text_completion", _list(completion)) | usage),
        "CompletionEvent": object_of(_envelope("text_completion", _list(completion)), usage),
        "ChatCompletion": object_of(_envelope("chat.completion", _list(chat)) | usage),
        "ChatEvent": object_of(_envelope("chat.completion.chunk", _list(delta)), usage),
        "Embeddings": object_of(embeddings),
        **_messages(),
        "CompletionEvents": _events("CompletionEvent"),
        "ChatEvents": _events("ChatEvent"),
    }


def _messages() -> dict[str, Schema]:
    """What Anthropic's form has."""
    counts = ("input_tokens", "output_tokens")
    head = {
        "id": _TEXT,
        "type": {"const": "message"},
        "role": {"const": "assistant"},
        "model": {"type": "string", "description": "The upstream's name of what answered."},
        "content": _list(object_of({"type": _TEXT})),
        "usage": object_of(dict.fromkeys(counts, _COUNT)),
    }
    ending = {"stop_reason": _TEXT, "stop_sequence": _TEXT}
    error = object_of({"type": _TEXT, "message": _TEXT}, {"code": _TEXT, "param": _TEXT})
    kinds = (
        *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop", "ping", "error"),
    )
    event = object_of({"type": {"enum": [*kinds]}})
    return {
        "Message": object_of(head, ending),
        "MessageError": object_of(
            {"type": {"const": "error"}, "error": error, "request_id": _TEXT}
        ),
        "MessageEvents": object_of(
            {
                "event": {"enum": [*kinds]},
                "data": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": event,
                },
            }
        ),
    }


def _account() -> dict[str, Schema]:
    row = {
        "model": {"type": ["string", "null"]},
        "requests": _COUNT,
        "errors": _COUNT,
        "prompt_tokens": _COUNT,
        "completion_tokens": _COUNT,
        "cached_tokens": _COUNT,
        "cache_write_tokens": _COUNT,
        "reasoning_tokens": _COUNT,
        "cost_usd": _DOLLARS,
        "saved_usd": _DOLLARS,
    }
    budget = {
        "scope": _TEXT,
        "per": _TEXT,
        "limit_usd": _DOLLARS,
        "spent_usd": _DOLLARS,
        "held_usd": _DOLLARS,
        "resets_at": _TIME,
    }
    usage = {
        "object": {"const": "usage"},
        "key": _TEXT,
        "tenant": _TEXT,
        "since": _TIME,
        "until": _TIME,
        "models": _list(object_of(row)),
        "budgets": _list(object_of(budget)),
    }
    return {"Usage": object_of(usage)}


def answer_schemas() -> dict[str, Schema]:
    """Each answer's body by its component's name."""
    model = {
        "id": _TEXT,
        "object": {"const": "model"},
        "created": _COUNT,
        "owned_by": _TEXT,
    }
    models = {"object": {"const": "list"}, "data": _list(_ref("Model"))}
    ready = {
        "status": {"enum": ["ready", "not_ready"]},
        "generation": _TEXT,
        "store": {"type": "string", "description": "`ok`, or why it is not asked."},
    }
    return {
        **_calls(),
        **_account(),
        "Model": object_of(model),
        "Models": object_of(models),
        "Feedback": object_of({"id": _TEXT, "quarantined": {"type": "boolean"}}),
        "Live": object_of({"status": {"const": "live"}, "generation": _TEXT}),
        "Ready": object_of(ready, {"reason": _TEXT, "loop_lag_ms": _COUNT}),
        "Anything": {"description": "What the model's server answers."},
        "Document": _OBJECT,
    }
