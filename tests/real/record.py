"""Write down raw answers of the real servers: `python -m tests.real.record`.

Bytes and headers stand in the files as they arrived (but for the path of the server's own
installation, in llama-cpp-python's tracebacks); `tests/clients/recorded/` holds them.
"""

import base64
import json
from pathlib import Path
from typing import Any

import httpx

from tests.real import places, servers
from tests.real.matrix import GREEDY, IDS, PROMPT
from tests.real.servers import Endpoint

RECORDED = places.ROOT / "tests" / "clients" / "recorded"
LARGEST = 20_000
SHORT = GREEDY | {"max_tokens": 6}
STREAM: dict[str, Any] = {"stream": True}
USAGE: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
CHAT: dict[str, Any] = {
    "messages": [{"role": "user", "content": PROMPT}],
    "max_tokens": 6,
    "temperature": 0,
}
SAMPLED_TWICE: dict[str, Any] = SHORT | {"n": 2, "temperature": 1, "seed": 7}

COMPLETIONS: dict[str, dict[str, Any]] = {
    "plain": SHORT,
    "stop": SHORT | {"stop": ["e"], "max_tokens": 64},
    "stream": SHORT | STREAM,
    "stream-usage": SHORT | USAGE,
    "n2": SAMPLED_TWICE,
    "n2-stream-usage": SAMPLED_TWICE | USAGE,
    "batch": SHORT | {"prompt": [PROMPT, "the keeper"]},
    "batch-stream-usage": SHORT | {"prompt": [PROMPT, "the keeper"]} | USAGE,
    "echo-logprobs": SHORT | {"echo": True, "logprobs": 1},
    "echo-logprobs-stream": SHORT | {"echo": True, "logprobs": 1, "max_tokens": 3} | STREAM,
    "scoring": SHORT | {"echo": True, "logprobs": 1, "max_tokens": 1, "prompt": [IDS, IDS[:3]]},
    "ids": SHORT | {"prompt": IDS},
    "error-too-long": SHORT | {"prompt": "the gate " * 6000},
    "error-wrong-kind": SHORT | {"temperature": "hot"},
    "error-400": SHORT | {"prompt": IDS * 900},
    "error-stream": SHORT | {"prompt": IDS * 900} | STREAM,
    "error-404": SHORT | {"model": "no-such-model"},
    "error-401": SHORT,
}
CHATS: dict[str, dict[str, Any]] = {
    "chat": CHAT,
    "chat-n2": CHAT | {"n": 2, "temperature": 1, "seed": 7},
    "chat-logprobs": CHAT | {"logprobs": True, "top_logprobs": 2},
    "chat-stream": CHAT | STREAM,
    "chat-stream-usage": CHAT | USAGE,
    "chat-stream-logprobs": CHAT | {"logprobs": True, "top_logprobs": 2} | USAGE,
    "chat-n2-stream-usage": CHAT | {"n": 2, "temperature": 1, "seed": 7} | USAGE,
    "chat-error-404": CHAT | {"model": "no-such-model"},
}


def record(server: Endpoint, name: str, path: str, asked: dict[str, Any]) -> None:
    """Ask once and write one file; an answer over the size that a fixture may have is left out."""
    body = {"model": server.model, **asked}
    key = "sk-wrong" if name == "error-401" else server.key
    with (
        httpx.Client(trust_env=False, timeout=60) as client,
        client.stream(
            "POST",
            server.base + path,
            json=body,
            headers={"authorization": f"Bearer {key}", "accept-encoding": "identity"},
        ) as answer,
    ):
        raw = _without_paths(b"".join(answer.iter_raw()))
        headers = [[k.decode("latin-1"), v.decode("latin-1")] for k, v in answer.headers.raw]
    for header in headers:
        if header[0].lower() == "content-length":
            header[1] = str(len(raw))
    kept = {
        "server": server.name,
        "path": f"/v1{path}",
        "request": _shortened(body),
        "status": answer.status_code,
        "headers": headers,
        **_body(raw),
    }
    text = json.dumps(kept, indent=1, ensure_ascii=False) + "\n"
    if len(text.encode()) > LARGEST:
        print(f"  {server.name}-{name}: {len(text)} characters, left out")
        return
    (RECORDED / f"{server.name}-{name}.json").write_text(text, encoding="utf-8")
    print(f"  {server.name}-{name}: {answer.status_code}, {len(raw)} bytes")


def _without_paths(raw: bytes) -> bytes:
    """A traceback in an answer shows where the server is installed; it is not here."""
    return raw.replace(str(places.ENVIRONMENTS).encode(), b"/srv")


def _body(raw: bytes) -> dict[str, str]:
    try:
        return {"body": raw.decode("utf-8")}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(raw).decode("ascii")}


def _shortened(body: dict[str, Any], longest: int = 200) -> dict[str, Any]:
    """The request without a prompt made only to be too long."""
    prompt = body.get("prompt")
    if isinstance(prompt, str | list) and len(prompt) > longest:
        return body | {"prompt": f"(left out: {len(prompt)} long)"}
    return body


def main(folder: Path = RECORDED) -> None:
    """Start both servers, one after the other, and record them."""
    places.make_folders()
    folder.mkdir(parents=True, exist_ok=True)
    with servers.vllm() as server:
        for name, asked in COMPLETIONS.items():
            record(server, name, "/completions", asked)
        for name, asked in CHATS.items():
            record(server, name, "/chat/completions", asked)
    with servers.llama() as server:
        for name, asked in COMPLETIONS.items():
            record(server, name, "/completions", asked)


if __name__ == "__main__":
    main()
