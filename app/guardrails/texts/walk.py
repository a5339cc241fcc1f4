"""Every text of a request: one walk for all endpoints, whatever its members are called.

What is no text (token ids, embeddings, pictures, sound) is named apart, because no rule can read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

Path = tuple[str | int, ...]

# Names of things and of kinds of things, which the gateway or the server chooses by.
NOT_TEXT = frozenset({"model", "user"})
_KINDS = frozenset({"role", "type", "object"})
# Members whose numbers stand for text: token ids, and vectors that are put in the place of it.
_ENCODED = frozenset(
    {"prompt_token_ids", "prompt_embeds", "input_ids", "multi_modal_data", "tokens"}
)
_PROMPTS = frozenset({"prompt", "input"})
_TEXT_PARTS = frozenset(
    {
        "text",
        "refusal",
        "input_text",
        "output_text",
        "thinking",
        "reasoning",
        "tool_use",
        "tool_result",
    }
)
_SHORT_NAME = 12  # characters; a shorter member name says nothing
_MOST_JSON = 1 << 20


class Text(NamedTuple):
    """One text and where it stands. ``json``: it is JSON itself, so it is read decoded.

    ``name``: it is the name of a member, which cannot be changed.
    """

    path: Path
    text: str
    json: bool = False
    name: bool = False

    @property
    def param(self) -> str:
        """The place as an error names it: ``messages[0].content``."""
        return param_of(self.path)


class Texts(NamedTuple):
    """``opaque`` are the places of what is no text; ``joined`` texts that a model reads as one."""

    texts: list[Text]
    opaque: list[Path]
    joined: list[list[int]]


def texts_of(document: Mapping[str, Any]) -> Texts:
    """Every text of a request's body."""
    found = Texts([], [], [])
    for name, value in document.items():
        if name not in NOT_TEXT:
            _walk((name,), name, value, found)
    for name in document:
        _name((name,), name, found)
    found.joined.extend(_joined(found.texts))
    return found


def token_ids_at(document: Mapping[str, Any], path: Path) -> list[int] | None:
    """The token ids that stand there; None where that is something else."""
    value: Any = document
    for step in path:
        value = value[step]
    whole = isinstance(value, list) and all(type(one) is int for one in value)
    return value if whole else None


def rewritten(document: Mapping[str, Any], changes: Mapping[Path, str]) -> dict[str, Any]:
    """The members that changes fall into, with the new texts in their places."""
    members: dict[str, Any] = {}
    for path, text in changes.items():
        name = str(path[0])
        value = members[name] if name in members else document[name]
        members[name] = _with(value, path[1:], text)
    return members


def param_of(path: Path) -> str:
    """A place as an error names it."""
    said = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return said.removeprefix(".")


def _walk(path: Path, name: str, value: Any, found: Texts) -> None:
    if name in _ENCODED and value:
        found.opaque.append(path)
    elif isinstance(value, str):
        if name in _KINDS and len(value) <= _SHORT_NAME:
            return
        if value.startswith("data:") and ";base64," in value[:256]:
            found.opaque.append(path)
        elif value:
            found.texts.append(Text(path, value, _is_json(value)))
    elif isinstance(value, dict):
        if _is_media(value):
            found.opaque.append(path)
        for key, child in value.items():
            _walk((*path, key), key, child, found)
            _name((*path, key), key, found)
    elif isinstance(value, list) and value:
        first = value[0]
        numbers = isinstance(first, int | float) and not isinstance(first, bool)
        if numbers and name in _PROMPTS:
            found.opaque.append(path)
            return
        for index, child in enumerate(value):
            if not numbers or isinstance(child, str | dict | list):
                _walk((*path, index), name, child, found)


def _name(path: Path, name: str, found: Texts) -> None:
    if len(name) > _SHORT_NAME:
        found.texts.append(Text(path, name, name=True))


def _is_media(value: Mapping[str, Any]) -> bool:
    """Whether this is a part of a message that is no text."""
    kind = value.get("type")
    if not isinstance(kind, str) or kind in _TEXT_PARTS:
        return False
    return kind in _MEDIA or (
        kind in value and kind.endswith(("_url", "_audio", "_image", "_file"))
    )


_MEDIA = frozenset(
    "image image_url input_image audio input_audio audio_url video video_url input_video file input_file"
    " document image_embeds audio_embeds".split()
)


def _is_json(text: str) -> bool:
    """Whether a text is a JSON object or list, such as a tool's arguments."""
    if text[:1] not in ("{", "[") or text[-1:] not in ("}", "]") or len(text) > _MOST_JSON:
        return False
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True


def _joined(texts: Sequence[Text]) -> Iterator[list[int]]:
    """Texts of which a model reads one after the other: prompt and suffix, the messages."""
    suffix = [i for i, text in enumerate(texts) if text.path == ("suffix",)]
    if suffix:
        for index, text in enumerate(texts):
            if text.path[0] == "prompt" and not text.name:
                yield [index, *suffix]
    messages = [
        index
        for index, text in enumerate(texts)
        if text.path[0] == "messages" and not text.json and not text.name and "content" in text.path
    ]
    if len(messages) > 1:
        yield messages


def _with(value: Any, path: Path, text: str) -> Any:
    if not path:
        return text
    if isinstance(value, dict):
        return {**value, path[0]: _with(value[path[0]], path[1:], text)}
    assert isinstance(path[0], int)
    copy = list(value)
    copy[path[0]] = _with(copy[path[0]], path[1:], text)
    return copy
