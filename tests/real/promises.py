"""What the gateway's own contract promises about any answer, whatever server stands behind it."""

import json
from typing import Any

from tests.real.answers import DONE
from tests.real.wire import Answer

ENVELOPE = {"message", "type", "param", "code"}
SECRETS = ("sk-", "hg-real-", "127.0.0.1", "site-packages")
LONGEST_ERROR = 8192


def of_a_plain_answer(answer: Answer) -> list[str]:
    """Broken promises of a 200 with a JSON body."""
    body = answer.json()
    broken = _of_the_headers(answer, "application/json")
    broken += _of_the_object(body)
    indexes = [choice.get("index") for choice in body.get("choices", ())]
    if indexes != list(range(len(indexes))):
        broken.append(f"choices come as {indexes}")
    for choice in body.get("choices", ()):
        if not {"text", "index", "logprobs", "finish_reason"} <= choice.keys():
            broken.append(f"a choice has only {sorted(choice)}")
    if not _is_usage(body.get("usage")):
        broken.append(f"usage is {body.get('usage')!r}")
    return broken


def of_a_stream(answer: Answer, *, usage: bool) -> list[str]:
    """Broken promises of a stream; `usage` is whether the caller asked for it."""
    broken = _of_the_headers(answer, "text/event-stream")
    events = answer.events()
    if not events or events[-1] != DONE or events.count(DONE) != 1:
        return [*broken, f"the stream ends with {events[-1:]}"]
    if not answer.body.endswith(b"data: [DONE]\n\n"):
        broken.append("the last bytes are not data: [DONE] and an empty line")
    chunks = [json.loads(event) for event in events[:-1]]
    for chunk in chunks:
        broken += _of_the_object(chunk)
        for choice in chunk["choices"]:
            if not isinstance(choice.get("text"), str):
                broken.append(f"text is {choice.get('text')!r}")
    if len({chunk.get("id") for chunk in chunks}) != 1:
        broken.append("the id changes within the stream")
    broken += _of_finish_reasons(chunks)
    broken += _of_stream_usage(chunks, asked=usage)
    return list(dict.fromkeys(broken))


def of_an_error(answer: Answer, status: int) -> list[str]:
    """Broken promises of the error envelope."""
    broken = [] if answer.status == status else [f"status {answer.status}, not {status}"]
    if "x-request-id" not in answer.headers:
        broken.append("no x-request-id")
    try:
        error = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return [*broken, f"no envelope: {answer.body[:200]!r}"]
    if not error.keys() >= ENVELOPE:
        broken.append(f"the envelope lacks {sorted(ENVELOPE - error.keys())}")
    if not isinstance(error.get("message"), str) or not error.get("message"):
        broken.append(f"message is {error.get('message')!r}")
    if not isinstance(error.get("code"), str | None):
        broken.append(f"code is {error.get('code')!r}")
    if len(answer.body) > LONGEST_ERROR:
        broken.append(f"the error is {len(answer.body)} bytes long")
    broken += [f"the body shows {secret}" for secret in SECRETS if secret in answer.body.decode()]
    return broken


def _of_the_headers(answer: Answer, kind: str) -> list[str]:
    broken = []
    if not answer.headers.get("content-type", "").startswith(kind):
        broken.append(f"content-type is {answer.headers.get('content-type')!r}")
    wanted = ("x-request-id", "x-provider", "x-model", "x-headgate-attempts", "x-headgate-config")
    broken += [f"no {name} header" for name in wanted if name not in answer.headers]
    return broken


def _of_the_object(body: dict[str, Any]) -> list[str]:
    broken = []
    if not str(body.get("id")).startswith("cmpl-"):
        broken.append(f"id is {body.get('id')!r}")
    if body.get("object") != "text_completion":
        broken.append(f"object is {body.get('object')!r}")
    if not isinstance(body.get("created"), int):
        broken.append(f"created is {body.get('created')!r}")
    if not isinstance(body.get("model"), str):
        broken.append(f"model is {body.get('model')!r}")
    return broken


def _of_finish_reasons(chunks: list[dict[str, Any]]) -> list[str]:
    seen: dict[int, int] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            index = choice["index"]
            seen[index] = seen.get(index, 0) + (choice.get("finish_reason") is not None)
    return [
        f"choice {index} has {count} finish reasons" for index, count in seen.items() if count != 1
    ]


def _of_stream_usage(chunks: list[dict[str, Any]], *, asked: bool) -> list[str]:
    if not asked:
        told = [chunk for chunk in chunks if chunk.get("usage") is not None or not chunk["choices"]]
        return [f"usage was not asked for: {told[0]}"] if told else []
    *before, last = chunks
    broken = []
    if last["choices"] != [] or not _is_usage(last.get("usage")):
        broken.append(f"the last chunk is not the usage: {last}")
    if any(chunk.get("usage", "absent") is not None for chunk in before):
        broken.append("usage is not null on the chunks before the last")
    return broken


def _is_usage(usage: Any) -> bool:
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return (
        isinstance(usage, dict)
        and all(isinstance(usage.get(name), int) for name in names)
        and usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    )
