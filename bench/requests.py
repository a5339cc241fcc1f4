"""The requests that the load sends and the answer that the plain upstream gives."""

import json
from collections.abc import Mapping
from typing import Any, Literal, cast

Operation = Literal["completions", "chat", "embeddings"]

KEY = "hg-bench-0123456789abcdef0123456789abcdef"
PATHS: Mapping[Operation, str] = {
    "completions": "/v1/completions",
    "chat": "/v1/chat/completions",
    "embeddings": "/v1/embeddings",
}
PATH = PATHS["completions"]
MODEL = "bench"
UPSTREAM_MODEL = "bench-upstream"
PROMPT = "Say this is a test"

KEYS = [
    {
        "id": "bench",
        "tenant": "bench",
        "secret": KEY,
        "capabilities": ["completions", "chat", "embeddings"],
        "models": ["*"],
    }
]

COMPLETION: Mapping[str, object] = {
    "id": "cmpl-uqkvlQyYK7bGYrRHQ0eXlWi7",
    "object": "text_completion",
    "created": 1589478378,
    "model": UPSTREAM_MODEL,
    "choices": [
        {
            "text": "\n\nThis is indeed a test",
            "index": 0,
            "logprobs": None,
            "finish_reason": "length",
        }
    ],
    "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
}
DIMENSIONS = 1536  # of an embedding, as the usual models have them


def headers(key: str = KEY) -> dict[str, str]:
    """What a client sends with a request."""
    return {"authorization": f"Bearer {key}", "content-type": "application/json"}


def plain_body(
    prompt: str = PROMPT, prompts: int = 1, operation: Operation = "completions"
) -> bytes:
    """A plain request, about 90 bytes, or a batch of the same prompt, numbered."""
    batch = [f"{prompt} {number}" for number in range(prompts)]
    given = batch if prompts > 1 else prompt
    asked: dict[str, Any] = {"model": MODEL, "max_tokens": 7, "temperature": 0}
    match operation:
        case "completions":
            asked["prompt"] = given
        case "chat":
            asked["messages"] = _messages(prompt)
        case "embeddings":
            # As openai-python asks: it wants base64.
            asked = {"model": MODEL, "input": given, "encoding_format": "base64"}
    return json.dumps(asked).encode()


def _messages(prompt: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}]


def answer(operation: Operation, prompts: int = 1) -> dict[str, object]:
    """The upstream's plain answer."""
    if operation == "completions":
        return completion(prompts)
    if operation == "embeddings":
        vector = [round((number * 37 % 1000 - 500) / 7919, 9) for number in range(DIMENSIONS)]
        data = [
            {"object": "embedding", "index": index, "embedding": vector} for index in range(prompts)
        ]
        usage = {"prompt_tokens": 5 * prompts, "total_tokens": 5 * prompts}
        return {"object": "list", "data": data, "model": UPSTREAM_MODEL, "usage": usage}
    message = {"role": "assistant", "content": "This is indeed a test", "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    head = {"id": "chatcmpl-uqkvlQyYK7bGYrRHQ0eXlWi7", "object": "chat.completion"}
    return {**COMPLETION, **head, "choices": [choice]}


def completion(choices: int = 1) -> dict[str, object]:
    """The upstream's answer to so many prompts."""
    (choice,) = cast("list[dict[str, object]]", COMPLETION["choices"])
    return {**COMPLETION, "choices": [choice | {"index": index} for index in range(choices)]}


def stream_body(
    chunks: int,
    *,
    choices: int = 1,
    usage: bool = False,
    operation: Operation = "completions",
) -> bytes:
    """A streaming request; the mock upstream sends one chunk for each of `max_tokens`."""
    asked: dict[str, object] = {
        "model": MODEL,
        **({"messages": _messages(PROMPT)} if operation == "chat" else {"prompt": PROMPT}),
        "max_tokens": chunks,
        "stream": True,
    }
    if choices > 1:
        asked["n"] = choices
    if usage:
        asked["stream_options"] = {"include_usage": True}
    return json.dumps(asked).encode()


def stream_request(
    host: str, body: bytes, key: str = KEY, operation: Operation = "completions"
) -> bytes:
    """The whole HTTP/1.1 message of a streaming request."""
    lines = [f"POST {PATHS[operation]} HTTP/1.1", f"host: {host}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers(key).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
