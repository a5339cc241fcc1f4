"""Where chunks stand in a request: before each prompt of a batch, or before the last user message.

What the caller wrote is never decoded and written anew: the chunks are put beside its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import orjson

from app.core.errors import InvalidRequest
from app.openai.completions.request import CompletionRequest
from app.openai.json_body import raw_items
from app.openai.request_body import RequestBody
from app.retrieval.prompts.template import Template

MAX_QUESTION = 2000  # characters; of a longer prompt its end, where the question mostly stands

# Members by which an answer tells of its prompt, or by which a server changes or replaces it. They
# are vLLM's, but for `echo` (vLLM, "OpenAI-Compatible Server", extra parameters).
_SHOWS = ("echo", "prompt_logprobs", "return_token_ids")
_REPLACES = ("prompt_embeds", "truncate_prompt_tokens")


class Templates(NamedTuple):
    """``prompt`` is for text completions, ``system`` for conversations."""

    prompt: Template
    system: Template


def questions_of(
    request: RequestBody, suffix: Literal["off", "inject", "refuse"]
) -> list[str] | None:
    """What is asked: a text for each prompt, empty where there is none; None: add nothing at all.

    Raises InvalidRequest for a request whose prompt cannot be added to, or would be shown.
    """
    document = request.document
    if "suffix" in document and document["suffix"] and suffix != "inject":
        if suffix == "off":
            return None
        raise _refused("suffix", "documents cannot be put before a text to be filled in")
    for name in _SHOWS:
        if document.get(name) is not None and document[name] is not False:
            raise _refused(name, "it would show the documents that this model's prompts get")
    for name in _REPLACES:
        if document.get(name) is not None:
            raise _refused(name, "this model's prompts get documents put before them")
    messages = document.get("messages")
    if messages is not None:
        place = _last_user(messages)
        return [_end(_said(messages[place]))] if place is not None else [""]
    prompts = request.prompts if isinstance(request, CompletionRequest) else []
    questions = []
    for place, prompt in enumerate(prompts):
        if not isinstance(prompt, str):
            param = "prompt" if len(prompts) == 1 else f"prompt[{place}]"
            raise _refused(param, "this model takes text, because documents are put before it")
        questions.append(_end(prompt))
    return questions


def placed(request: RequestBody, contexts: Sequence[str], templates: Templates) -> RequestBody:
    """The request with a context for each of its questions; an empty one adds nothing."""
    messages = request.document.get("messages")
    if messages is not None:
        return _before_message(request, messages, contexts[0], templates.system)
    raw = bytes(request.raw["prompt"]).strip()
    alone = raw[:1] != b"["
    items = [raw] if alone else [bytes(item).strip() for item in raw_items(raw)]
    given = request.document["prompt"]
    prompts: list[str] = []
    written: list[bytes] = []
    for prompt, item, context in zip([given] if alone else given, items, contexts, strict=True):
        if not context:
            prompts.append(prompt)
            written.append(item)
            continue
        before, after = templates.prompt.around(context)
        prompts.append(f"{before}{prompt}{after}")
        written.append(b'"' + _inside(before) + item[1:-1] + _inside(after) + b'"')
    if alone:
        return request.replacing({"prompt": prompts[0]}, {"prompt": written[0]})
    return request.replacing({"prompt": prompts}, {"prompt": b"[" + b",".join(written) + b"]"})


def _before_message(
    request: RequestBody, messages: list[dict[str, Any]], context: str, template: Template
) -> RequestBody:
    place = _last_user(messages)
    if place is None or not context:
        return request
    said = "".join(template.around(context))
    message = {"role": "system", "content": said}
    items = [bytes(item) for item in raw_items(bytes(request.raw["messages"]))]
    items.insert(place, orjson.dumps(message))
    changed = [*messages[:place], message, *messages[place:]]
    return request.replacing({"messages": changed}, {"messages": b"[" + b",".join(items) + b"]"})


def _last_user(messages: Sequence[Mapping[str, Any]]) -> int | None:
    """Where the last message of a user stands."""
    for place in range(len(messages) - 1, -1, -1):
        if messages[place].get("role") == "user":
            return place
    return None


def _said(message: Mapping[str, Any]) -> str:
    """The text of a message, its parts together."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(
        part["text"]
        for part in parts
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    )


def _end(text: str) -> str:
    """The end of a text that is too long to be asked."""
    return text[-MAX_QUESTION:].strip()


def _inside(text: str) -> bytes:
    """A text as it stands between the quotes of JSON."""
    return orjson.dumps(text)[1:-1]


def _refused(param: str, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{param}` cannot be used here: {why}.", code="unsupported_parameter", param=param
    )
