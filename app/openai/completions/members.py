"""What must hold of a completions request's members beyond each for itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from app.core.errors import Problem
from app.openai.request_body import model_problems, stream_problems
from app.openai.validators import meant


def required(document: Mapping[str, Any], known: Collection[str]) -> list[Problem]:
    """What is wrong with the members that every request has; ``known`` are all by their names."""
    problems = model_problems(document, known)
    has_prompt, has_messages = "prompt" in document, "messages" in document
    if has_prompt and has_messages:
        problems.append(Problem("messages", "Send `prompt` or `messages`, not both."))
    elif not has_prompt and not has_messages:
        text = "`prompt` is required: a string, strings, token ids or lists of them."
        close = meant("prompt", document, known) or meant("messages", document, known)
        problems.append(Problem("prompt", text + close))
    return problems


def combinations(document: Mapping[str, Any], wrong: set[str | None]) -> list[Problem]:
    """What is wrong between fields, said only where the fields themselves are right."""
    problems = []
    n, best_of = document.get("n", 1), document.get("best_of")
    stream = document.get("stream") is True
    if best_of is not None and not wrong & {"n", "best_of"}:
        if best_of < n:
            problems.append(Problem("best_of", f"`best_of` must be at least `n` ({n})."))
        elif best_of > n and stream:
            problems.append(Problem("best_of", "`best_of` greater than `n` cannot be streamed."))
    problems += stream_problems(document, wrong)
    return problems
