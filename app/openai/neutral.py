"""Values that ask for no more than what happens without them. Pure.

Clients write their defaults out: LangChain sends ``logit_bias: {}`` and ``presence_penalty: 0``. A
provider that has no such member can still answer as asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (0, 1),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "echo": (False,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "parallel_tool_calls": (True,),
    "tools": ([],),
    "functions": ([],),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "metadata": ({},),
    "verbosity": ("medium",),
    "stop": ([],),
    "suffix": ("",),
}


def is_neutral(name: str, value: Any) -> bool:
    """Whether a member asks for no more than what happens without it."""
    return any(
        value == neutral and isinstance(value, bool) == isinstance(neutral, bool)
        for neutral in _NEUTRAL.get(name, ())
    )


def asks(document: Mapping[str, Any], name: str) -> bool:
    """Whether a request has this member with a value that asks for something."""
    value = document.get(name)
    return value is not None and not is_neutral(name, value)
