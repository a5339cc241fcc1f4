"""The callers' operations. Tests hold the table to the routes of the chain and to docs/api.md.

Operators' operations are another such table: ``document.py`` takes any number of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.routes.openapi.headers import ANSWER_HEADERS, REQUEST_HEADERS
from app.routes.openapi.rows import Operation, Parameter, Reply

_CALL = (400, 401, 403, 404, 405, 408, 413, 415, 429, 500, 501, 502, 503, 504)
_READ = (400, 401, 405, 429, 500)
_OF_CALLS = tuple(header.name for header in ANSWER_HEADERS if not header.always)
_ACCEPTED = tuple(header.name for header in REQUEST_HEADERS)
_MESSAGES = [{"role": "user", "content": "Say hi"}]
_WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def _events(schema: str) -> Reply:
    meaning = "With `stream: true`: server-sent events."
    return Reply(200, meaning, schema, "text/event-stream")


def _health(path: str, id: str, summary: str, description: str, *replies: Reply) -> Operation:
    return Operation("GET", path, id, "Health", summary, description, "none", replies, (405,))


COMPLETIONS = Operation(
    "POST",
    "/v1/completions",
    "createCompletion",
    "Models",
    "Complete a text",
    "Plain or streamed. A batch of prompts is answered in order: `index = prompt * n + i`.",
    "key",
    (Reply(200, "The choices.", "Completion"), _events("CompletionEvents")),
    _CALL,
    body="CompletionRequest",
    examples={
        "one prompt": {"model": "demo", "prompt": "Once upon a time", "max_tokens": 16},
        "a batch, streamed": {"model": "demo", "prompt": ["one", "two"], "stream": True},
        "with log-probabilities": {"model": "demo", "prompt": "2 + 2 =", "logprobs": 1, "n": 2},
    },
    headers=_OF_CALLS,
    accepts=_ACCEPTED,
)
CHAT = Operation(
    "POST",
    "/v1/chat/completions",
    "createChatCompletion",
    "Models",
    "Answer a conversation",
    "Plain or streamed; tools, JSON schemas, images and sound where the model can.",
    "key",
    (Reply(200, "The choices.", "ChatCompletion"), _events("ChatEvents")),
    _CALL,
    body="ChatRequest",
    examples={
        "a question": {"model": "demo", "messages": _MESSAGES, "max_completion_tokens": 16},
        "streamed": {"model": "demo", "messages": _MESSAGES, "stream": True},
        "with a tool": {"model": "demo", "messages": _MESSAGES, "tools": [_WEATHER]},
    },
    headers=_OF_CALLS,
    accepts=_ACCEPTED,
)
FIM = Operation(
    "POST",
    "/v1/fim/completions",
    "createFimCompletion",
    "Models",
    "Fill in the middle, in Mistral's form",
    "A completions request with a `suffix`, answered in chat's shape.",
    "key",
    (Reply(200, "The choices.", "ChatCompletion"), _events("ChatEvents")),
    _CALL,
    body="CompletionRequest",
    examples={
        "a gap": {"model": "demo", "prompt": "def f(", "suffix": "    return x", "max_tokens": 16}
    },
    headers=_OF_CALLS,
    accepts=_ACCEPTED,
)
MESSAGES = Operation(
    "POST",
    "/v1/messages",
    "createMessage",
    "Models",
    "Answer a conversation, in Anthropic's form",
    "Anthropic's Messages over any chat model: a chat request under another form, in and out.",
    "key",
    (
        Reply(200, "The message.", "Message"),
        _events("MessageEvents"),
        *(Reply(status, "In Anthropic's envelope.", "MessageError") for status in _CALL),
    ),
    body="MessagesRequest",
    examples={
        "a message": {"model": "demo", "max_tokens": 16, "messages": _MESSAGES},
        "a message, streamed": {
            "model": "demo",
            "max_tokens": 16,
            "messages": _MESSAGES,
            "stream": True,
        },
    },
    headers=_OF_CALLS,
    accepts=_ACCEPTED,
)
EMBEDDINGS = Operation(
    "POST",
    "/v1/embeddings",
    "createEmbedding",
    "Models",
    "Turn texts into vectors",
    "`data` is in the order of the inputs. A batch beyond the provider's size is split.",
    "key",
    (Reply(200, "The vectors.", "Embeddings"),),
    _CALL,
    body="EmbeddingsRequest",
    examples={"two texts": {"model": "demo", "input": ["one", "two"]}},
    headers=_OF_CALLS,
    accepts=_ACCEPTED,
)
_ALIAS = Parameter("id", "path", "An alias; slashes may stand in it.", {"type": "string"}, "demo")
_SINCE = Parameter(
    "since",
    "query",
    "A span such as `24h` or `7d`; at most `31d`.",
    {"type": "string"},
    "24h",
)
_MODEL = Parameter(
    "model", "query", "Which model's, where this key has several.", {"type": "string"}, "demo"
)
OPERATIONS: Sequence[Operation] = (
    COMPLETIONS,
    CHAT,
    FIM,
    MESSAGES,
    EMBEDDINGS,
    Operation(
        "GET",
        "/v1/models",
        "listModels",
        "Models",
        "The models that this key may use",
        "Their aliases, as `model` takes them.",
        "key",
        (Reply(200, "The models.", "Models"),),
        _READ,
    ),
    Operation(
        "GET",
        "/v1/models/{id}",
        "getModel",
        "Models",
        "One model",
        "404 `model_not_found` where this key may not use it.",
        "key",
        (Reply(200, "The model.", "Model"),),
        (*_READ, 404),
        parameters=(_ALIAS,),
    ),
    Operation(
        "POST",
        "/tokenize",
        "tokenize",
        "Models",
        "The tokens of a text",
        "Passed on to the server of a model with `tokenizer: true`.",
        "key",
        (Reply(200, "As the server answers.", "Anything"),),
        _CALL,
        body="TokenizeRequest",
        examples={"a text": {"model": "demo", "prompt": "one two"}},
    ),
    Operation(
        "GET",
        "/tokenizer_info",
        "getTokenizerInfo",
        "Models",
        "What a model's server says of its tokenizer",
        "Passed on, for a model with `tokenizer: true`.",
        "key",
        (Reply(200, "As the server answers.", "Anything"),),
        _CALL,
        parameters=(_MODEL,),
    ),
    Operation(
        "GET",
        "/v1/usage",
        "getUsage",
        "Account",
        "What this key used, and how its budgets stand",
        "By model, over a span that ends now.",
        "key",
        (Reply(200, "Counts and budgets.", "Usage"),),
        (*_READ, 503),
        parameters=(_SINCE,),
    ),
    Operation(
        "POST",
        "/v1/cache/feedback",
        "sendFeedback",
        "Account",
        "Say that an answer by meaning was wrong, or right",
        "`id` is the `x-headgate-cache-id` of the answer. After `bad` it is not given again.",
        "key",
        (Reply(200, "It is noted.", "Feedback"),),
        (400, 401, 405, 408, 413, 429, 500, 503),
        body="FeedbackRequest",
    ),
    _health(
        "/health/live",
        "getLiveness",
        "Does the process run?",
        "200 while it does.",
        Reply(200, "It runs.", "Live"),
    ),
    _health(
        "/health",
        "getHealth",
        "The same, for those who ask here",
        "As `/health/live`.",
        Reply(200, "It runs.", "Live"),
    ),
    _health(
        "/health/ready",
        "getReadiness",
        "Are requests welcome?",
        "503 with the reason while the store is out, or the gateway shuts down.",
        Reply(200, "They are.", "Ready"),
        Reply(503, "They are not, for `reason`.", "Ready"),
    ),
    Operation(
        "GET",
        "/openapi.json",
        "getOpenApi",
        "Documents",
        "This document",
        "OpenAPI 3.1, made of the tables by which requests are validated.",
        "none",
        (Reply(200, "The document.", "Document"),),
        (405,),
    ),
)
