"""How many tokens a request's prompts are: at most (a bound, for money) and probably (an estimate).

Text counts by its length. A part that is not text (an image, a sound, a file) counts as a number of
tokens that the operator can set, by kind and detail, and never by its bytes: servers charge a
picture by its size in pixels, of which its bytes say nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from app.core.request import PartTokens
from app.core.usage import estimate_bytes
from app.openai.completions.request import FIELDS, CompletionRequest, Prompt

# What servers add of their own accord: a start token; a role and the marks of a message or part;
# the system prompt that a chat template brings along (gpt-oss adds 70 tokens, Llama 3.1 40).
_TEXT_OVERHEAD = 4
_MESSAGE_OVERHEAD = 16
TEMPLATE_OVERHEAD = 128

# Members that no server puts into a prompt, or that are counted by themselves.
_NOT_IN_PROMPT = frozenset(FIELDS) - {"suffix"} | {"messages", "metadata"}
# Members that servers are known to put into the prompt.
_IN_PROMPT = frozenset({"suffix", "tools", "functions", "response_format", "documents"})

_ROLE_AND_CONTENT = frozenset({"role", "content"})

_KINDS = {
    kind: family
    for family, kinds in {
        "text": "text input_text output_text refusal thinking reasoning",
        "image": "image_url input_image image image_file image_embeds",
        "audio": "input_audio audio_url audio audio_embeds",
        "video": "video_url input_video video",
        "file": "file input_file file_url document",
    }.items()
    for kind in kinds.split()
}


class Size(NamedTuple):
    """What a conversation holds: bytes of text, tokens of other parts, and messages."""

    text: int
    parts: int
    messages: int


def prompt_bound(request: CompletionRequest) -> int:
    """The most tokens that a request's prompts can be: exact for ids, a token per byte for text.

    Every further member that is a text, a list or an object counts by its bytes with each prompt,
    because servers put tools, schemas and documents into it.
    """
    extra = sum(
        request.size_of(name)
        for name in request.document.keys() - _NOT_IN_PROMPT
        if type(request.document[name]) in (str, list, dict)
    )
    if request.messages is not None:
        size = _conversation(request.messages, request.part_tokens)
        return size.text + size.parts + _MESSAGE_OVERHEAD * (size.messages + 1) + extra
    return sum(map(_prompt_bound, request.prompts)) + extra * len(request.prompts)


def prompt_estimate(request: CompletionRequest) -> int:
    """The tokens that a request's prompts probably are: exact for ids, by rule of thumb for text."""
    present = _IN_PROMPT & request.document.keys()
    extra = sum(map(request.size_of, present)) if present else 0
    if request.messages is not None:
        size = _conversation(request.messages, request.part_tokens)
        return estimate_bytes(size.text + extra) + size.parts
    prompts = request.prompts
    return sum(map(_prompt_estimate, prompts)) + estimate_bytes(extra) * len(prompts)


def _prompt_bound(prompt: Prompt) -> int:
    return _bytes(prompt) + _TEXT_OVERHEAD if isinstance(prompt, str) else len(prompt)


def _prompt_estimate(prompt: Prompt) -> int:
    return estimate_bytes(_bytes(prompt)) if isinstance(prompt, str) else len(prompt)


def _conversation(messages: list[dict[str, Any]], part_tokens: PartTokens) -> Size:
    text = parts = 0
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            text += _bytes(content)
        elif content is not None:
            for part in content:
                written, tokens = _part(part, part_tokens)
                text += written
                parts += tokens
        others = message.keys() - _ROLE_AND_CONTENT
        if others:
            # Names, calls and their results; a reference to an earlier sound is one.
            text += len(orjson.dumps({name: message[name] for name in others}))
            parts += part_tokens.audio if "audio" in others else 0
    return Size(text, parts, len(messages))


def _part(part: dict[str, Any], part_tokens: PartTokens) -> tuple[int, int]:
    """Bytes of text in a part, and the tokens of what is not text."""
    kind = _KINDS.get(part["type"])
    if kind == "text":
        texts = (value for name, value in part.items() if name != "type")
        return sum(_bytes(text) for text in texts if isinstance(text, str)), 0
    if kind == "image":
        return 0, _image(part, part_tokens)
    if kind is None:
        # It may be text by another name as well as a picture, so that both are counted.
        return len(orjson.dumps(part)), part_tokens.other
    return 0, int(getattr(part_tokens, kind))


def _image(part: dict[str, Any], part_tokens: PartTokens) -> int:
    image = part.get("image_url")
    detail = image.get("detail") if isinstance(image, dict) else None
    detail = detail or part.get("detail")
    if detail is None or detail == "auto":
        return part_tokens.image_auto
    if detail == "low":
        return part_tokens.image_low
    return max(part_tokens.image_high, part_tokens.image_auto)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
