"""Is this completions stream framed as the contract says? Pure; used by the load and the soak."""

import json
from typing import Any

from bench.requests import Operation

DONE = b"data: [DONE]\n\n"


def looks_complete(body: bytes, chunks: int) -> bool:
    """The cheap check made on every stream under load: enough events, and `[DONE]` at the end."""
    return body.endswith(DONE) and body.count(b"\n\n") > chunks


_OBJECTS = {"completions": "text_completion", "chat": "chat.completion.chunk"}


def problems(
    body: bytes,
    text: str,
    *,
    choices: int = 1,
    usage: bool = False,
    operation: Operation = "completions",
) -> list[str]:
    """Everything wrong with a stream whose every choice should read `text`; empty when right."""
    if not body.endswith(b"\n\n"):
        return [f"does not end with an empty line: …{body[-60:]!r}"]
    events = body[:-2].split(b"\n\n")
    odd = [event for event in events if not event.startswith(b"data: ") or b"\n" in event]
    if odd or b"\r" in body:
        return [f"not one `data: ` line: {event[:80]!r}" for event in odd] or ["holds a CR"]
    payloads = [event.removeprefix(b"data: ") for event in events]
    found = [] if payloads.count(b"[DONE]") == 1 else ["not exactly one [DONE]"]
    if payloads[-1] != b"[DONE]":
        return [*found, f"does not end with [DONE] but with {payloads[-1][:120]!r}"]
    try:
        chunks = [json.loads(payload) for payload in payloads if payload != b"[DONE]"]
    except ValueError:
        return [*found, "an event is not JSON"]
    kind = _OBJECTS[operation]
    if any(not isinstance(c, dict) or c.get("object") != kind for c in chunks):
        return [*found, f"an event is not a {kind}"]
    return found + _usage_problems(chunks, usage) + _choice_problems(chunks, text, choices)


def _usage_problems(chunks: list[dict[str, Any]], asked: bool) -> list[str]:
    tails = [i for i, chunk in enumerate(chunks) if not chunk["choices"]]
    if not asked:
        return [] if not tails else ["a chunk without choices, though no usage was asked for"]
    if tails != [len(chunks) - 1] or not isinstance(chunks[-1].get("usage"), dict):
        return ["not exactly one usage chunk right before [DONE]"]
    return []


def _choice_problems(chunks: list[dict[str, Any]], text: str, choices: int) -> list[str]:
    texts: dict[int, str] = dict.fromkeys(range(choices), "")
    finished: set[int] = set()
    found = []
    for choice in (choice for chunk in chunks for choice in chunk["choices"]):
        index = choice["index"]
        if index in finished:
            found.append(f"choice {index} goes on after its finish_reason")
        if choice["finish_reason"] is not None:
            finished.add(index)
        said = choice["delta"].get("content") or "" if "delta" in choice else choice["text"]
        texts[index] = texts.get(index, "") + said
    if finished != set(range(choices)):
        found.append(f"choices that finished: {sorted(finished)}, expected {choices}")
    found += [f"choice {i} does not read as sent" for i, read in texts.items() if read != text]
    return found
