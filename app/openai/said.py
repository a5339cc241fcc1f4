"""What an answer says as text: every string of it but those that name things.

One walk for plain answers and for the chunks of a stream, whatever the endpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.core.family import Said

Path = tuple[str | int, ...]

# Strings that name things and say nothing.
_NAMES = frozenset(
    "id object model role type finish_reason stop_reason matched_stop system_fingerprint service_tier"
    " call_id tool_call_id native_finish_reason provider embedding signature encrypted_content".split()
)
# What tells a text again, token by token.
RETELLING = frozenset(
    "logprobs prompt_logprobs token_ids prompt_token_ids completion_probabilities".split()
)
_JSON = frozenset({"arguments", "partial_json"})
_AT_ONCE = frozenset({"name"})


def said_in(document: Mapping[str, Any]) -> list[Said]:
    """The texts of a plain answer or of a chunk."""
    said: list[Said] = []
    for name, value in document.items():
        if name == "choices" and isinstance(value, list):
            for position, choice in enumerate(value):
                if isinstance(choice, dict):
                    index = _index_of(choice, position)
                    said += _texts(index, (), "", choice)
        elif name not in _NAMES and name not in RETELLING and name != "usage":
            said += _texts(None, (name,), name, value)
    return said


def put(document: dict[str, Any], said: Said, text: str) -> None:
    """Put a text in the place of one; the place is made where there is none."""
    holder: Any = document
    if said.choice is not None:
        holder = _item(document.setdefault("choices", []), said.choice)
    for step, following in zip(said.path, said.path[1:], strict=False):
        if isinstance(step, int):
            holder = _item(holder, step)
        else:
            if holder.get(step) is None:
                holder[step] = [] if isinstance(following, int) else {}
            holder = holder[step]
    last = said.path[-1]
    if isinstance(last, int):
        holder[last] = text
    else:
        holder[last] = text


def retold_in(choice: Mapping[str, Any]) -> dict[str, Any]:
    """What a choice, or an answer beside its choices, tells again token by token."""
    return {name: choice[name] for name in RETELLING if choice.get(name)}


def _texts(choice: int | None, path: Path, name: str, value: Any) -> Iterator[Said]:
    if isinstance(value, str):
        if name not in _NAMES:
            yield Said(choice, path, value, name in _JSON, name in _AT_ONCE)
    elif isinstance(value, dict):
        for key, child in value.items():
            if key not in RETELLING and key not in _NAMES:
                yield from _texts(choice, (*path, key), key, child)
    elif isinstance(value, list) and value and not isinstance(value[0], int | float):
        for position, child in enumerate(value):
            index = _index_of(child, position) if isinstance(child, dict) else position
            yield from _texts(choice, (*path, index), name, child)


def _index_of(item: Mapping[str, Any], position: int) -> int:
    index = item.get("index")
    return index if type(index) is int else position


def _item(items: list[Any], index: int) -> Any:
    """The item of that index, or at that place; made where there is none."""
    for position, item in enumerate(items):
        if isinstance(item, dict) and _index_of(item, position) == index:
            return item
    item = {"index": index}
    items.append(item)
    return item
