"""The requests that the load sends and the answer that the plain upstream gives."""

import json
from collections.abc import Mapping
from typing import cast

KEY = "hg-bench-0123456789abcdef0123456789abcdef"
PATH = "/v1/completions"
MODEL = "bench"
UPSTREAM_MODEL = "bench-upstream"
PROMPT = "Say this is a test"

KEYS = [
    {
        "id": "bench",
        "tenant": "bench",
        "secret": KEY,
        "capabilities": ["completions"],
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


def headers(key: str = KEY) -> dict[str, str]:
    """What a client sends with a request."""
    return {"authorization": f"Bearer {key}", "content-type": "application/json"}


def plain_body(prompt: str = PROMPT, prompts: int = 1) -> bytes:
    """A plain request, about 90 bytes, or a batch of the same prompt, numbered."""
    batch = [f"{prompt} {number}" for number in range(prompts)]
    asked = {
        "model": MODEL,
        "prompt": batch if prompts > 1 else prompt,
        "max_tokens": 7,
        "temperature": 0,
    }
    return json.dumps(asked).encode()


def completion(choices: int = 1) -> dict[str, object]:
    """The upstream's answer to so many prompts."""
    (choice,) = cast("list[dict[str, object]]", COMPLETION["choices"])
    return {**COMPLETION, "choices": [choice | {"index": index} for index in range(choices)]}


def stream_body(chunks: int, *, choices: int = 1, usage: bool = False) -> bytes:
    """A streaming request; the mock upstream sends one chunk for each of `max_tokens`."""
    asked: dict[str, object] = {
        "model": MODEL,
        "prompt": PROMPT,
        "max_tokens": chunks,
        "stream": True,
    }
    if choices > 1:
        asked["n"] = choices
    if usage:
        asked["stream_options"] = {"include_usage": True}
    return json.dumps(asked).encode()


def stream_request(host: str, body: bytes, key: str = KEY) -> bytes:
    """The whole HTTP/1.1 message of a streaming request."""
    lines = [f"POST {PATH} HTTP/1.1", f"host: {host}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers(key).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
