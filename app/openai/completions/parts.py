"""A batch's answer in parts: one plain answer a prompt, taken apart and put together again.

By the index rule: choice ``prompt x n + i`` belongs to that prompt. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import orjson

from app.core.family import Part
from app.core.usage import Usage, estimate_prompts
from app.openai.completions.request import Prompt

# What the servers that we know say of a choice that came to its own end. Whatever else one says
# (content_filter, abort, error), nobody else should get it.
_FINISHED = frozenset({"stop", "length", "eos", "eos_token", "stop_sequence", "max_tokens"})


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Choices(msgspec.Struct):
    choices: list[_Choice]


_decode_choices = msgspec.json.Decoder(_Choices).decode


def is_clean(body: bytes, choices: int) -> bool:
    """Whether a plain answer may be kept: every choice is there and came to its own end."""
    try:
        found = _decode_choices(body).choices
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return len(found) == choices and all(c.finish_reason in _FINISHED for c in found)


def split(body: bytes, usage: Usage, prompts: Sequence[Prompt], n: int) -> list[Part]:
    """A plain answer to several prompts as one part a prompt; ``usage`` is shared out among them."""
    if len(prompts) <= 1:
        return [Part(body, usage)]
    document = orjson.loads(body)
    choices = document["choices"]
    shares = share_out(usage, prompts, choices, n)
    parts = []
    for place, share in enumerate(shares):
        own = [
            choice | {"index": index}
            for index, choice in enumerate(choices[place * n : (place + 1) * n])
        ]
        parts.append(
            Part(orjson.dumps(document | {"choices": own, "usage": share.document()}), share)
        )
    return parts


def share_out(
    usage: Usage, prompts: Sequence[Prompt], choices: Sequence[Mapping[str, Any]], n: int
) -> list[Usage]:
    """A batch's usage by prompt: the shares add up to the whole, and are estimates.

    Prompt tokens go by the prompts' lengths, completion tokens by the choices' (their tokens, where
    log-probabilities tell them).
    """
    asked = [estimate_prompts([prompt]) for prompt in prompts]
    given = [
        sum(map(_length, choices[place * n : (place + 1) * n])) for place in range(len(prompts))
    ]
    exact = all(isinstance(prompt, list) for prompt in prompts) and (
        sum(asked) == usage.prompt_tokens
    )
    pairs = zip(
        asked if exact else apportion(usage.prompt_tokens, asked),
        apportion(usage.completion_tokens, given),
        strict=True,
    )
    return [Usage(prompt, completion, estimated=True) for prompt, completion in pairs]


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Whole shares of ``total`` by weight, which add up to it (largest remainders first)."""
    whole = sum(weights)
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    shares = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: -(total * weights[i] % whole))
    for place in by_remainder[: total - sum(shares)]:
        shares[place] += 1
    return shares


def merge(parts: Mapping[int, bytes], prompts: int, n: int, envelope: int) -> bytes:
    """The plain answer to a whole batch, from the plain answer to each of its prompts.

    Everything but choices and usage is that of the part at ``envelope``.
    """
    documents = {place: orjson.loads(body) for place, body in parts.items()}
    choices = []
    totals = {"prompt_tokens": 0, "completion_tokens": 0}
    for place in range(prompts):
        document = documents[place]
        choices += [
            choice | {"index": place * n + choice["index"]} for choice in document["choices"]
        ]
        for name in totals:
            totals[name] += document["usage"][name]
    usage = Usage(totals["prompt_tokens"], totals["completion_tokens"]).document()
    return orjson.dumps(documents[envelope] | {"choices": choices, "usage": usage})


def _length(choice: Mapping[str, Any]) -> int:
    logprobs = choice.get("logprobs")
    if logprobs and isinstance(logprobs.get("tokens"), list):
        return len(logprobs["tokens"])
    return len(choice["text"])
