"""How large a conversation is: bytes of text, and tokens of what is not text.

A part that is not text (an image, a sound, a file) counts as a number of tokens that the operator
can set, by kind and detail, and never by its bytes: servers charge a picture by its size in pixels,
of which its bytes say nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from app.core.request import PartTokens

MESSAGE_OVERHEAD = 16  # tokens that a server adds: a role, and the marks of a message or part

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


def size_of(messages: list[dict[str, Any]], part_tokens: PartTokens) -> Size:
    """The size of a conversation; a part that is not text counts as ``part_tokens`` says."""
    text = parts = 0
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            text += text_bytes(content)
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
        return sum(text_bytes(text) for text in texts if isinstance(text, str)), 0
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


def text_bytes(text: str) -> int:
    """The bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())
