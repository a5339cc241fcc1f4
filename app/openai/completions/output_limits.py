"""How much may be generated, said to a server exactly once, whatever names the request uses.

Servers know more names than OpenAI's: llama.cpp reads ``n_predict`` before ``max_tokens`` and takes
-1 for no limit, transformers reads ``max_new_tokens``, TabbyAPI ``max_length``. Where money or
tokens were held for a bound, a second name beside it would make the bound a lie. So the smallest
value under any of these names becomes the bound and is sent as ``max_tokens``; every other name is
removed. What would generate more in another way (more candidates, a limit inside an object) is
refused by name, because removing it would change what is asked.

Names are compared without regard to case, ``_`` and ``-``: servers written in Go match members
without regard to case, and several servers take camel case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from app.core.errors import InvalidRequest, Problem
from app.core.request import Cap, Dialect
from app.openai.completions.request import DEFAULT_MAX_TOKENS, FIELDS, CompletionRequest

MOST_PROBLEMS = 32  # named in one answer
MOST_NAME = 64  # characters of a name that an answer repeats


def folded(name: str) -> str:
    """A member's name as servers may compare it."""
    # Long names are not kept, because callers choose them.
    return _folded_short(name) if len(name) <= MOST_NAME else _fold(name)


def _fold(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "")


_folded_short = lru_cache(1024)(_fold)


def _folded(text: str) -> frozenset[str]:
    return frozenset(map(folded, text.split()))


_LENGTH = "counts the prompt at some servers; write `max_tokens`"
_OTHER_MODEL = "names models other than the one that is paid for"
_APART = "is charged apart from the tokens"
_UNCOUNTED = "is a prompt that cannot be counted"
_TEMPLATE = "can make a prompt longer than its text"
_MEDIA = "changes what an image or a video costs"

# OpenAI, Azure; llama.cpp; Ollama; transformers, TGI, SGLang; Gemini; Anthropic's text completions;
# Bedrock's Llama and Titan; Aleph Alpha; Megatron; Triton; text-generation-webui; KoboldCpp; TabbyAPI.
OPENAI = Dialect(
    limits=_folded(
        "max_tokens max_completion_tokens max_output_tokens n_predict num_predict max_new_tokens "
        "max_tokens_to_sample max_gen_len max_token_count max_gen_tokens max_generated_tokens "
        "maximum_tokens tokens_to_generate num_tokens_to_generate request_output_len output_len"
    ),
    floors=_folded("min_tokens min_new_tokens min_completion_tokens minimum_tokens min_length"),
    candidates=_folded(
        "n_cmpl num_return_sequences num_beams num_beam_groups beam_width num_generations "
        "candidate_count num_candidates num_results num_samples n_completions"
    ),
    refused={
        folded(name): why
        for name, why in {
            "max_length": _LENGTH,
            "max_total_tokens": _LENGTH,
            "auto_max_new_tokens": "lets the server choose how much is generated",
            "prediction": "is charged beyond the limit where it is wrong",
            "prompt_embeds": _UNCOUNTED,
            "multi_modal_data": _UNCOUNTED,
            "image_data": _UNCOUNTED,
            "chat_template": _TEMPLATE,
            "chat_template_str": _TEMPLATE,
            "instruction_template_str": _TEMPLATE,
            "template": _TEMPLATE,
            "mm_processor_kwargs": _MEDIA,
            "media_io_kwargs": _MEDIA,
            "models": _OTHER_MODEL,
            "fallbacks": _OTHER_MODEL,
            "route": _OTHER_MODEL,
            "plugins": _APART,
            "web_search_options": _APART,
            "service_tier": "changes the price; write auto, default or flex, or leave it out",
        }.items()
    },
)

CONTRACT = frozenset(FIELDS) | {"messages"}
# The contract's fields that decide what is paid, whatever their case: `N` is `n` to a Go server.
_PAID_BY = {
    folded(name): name for name in ("model", "prompt", "messages", "n", "best_of", "suffix")
}
# Objects whose members are a schema's or a caller's own names, not parameters.
_SCHEMAS = _folded(
    "guided_json guided_grammar json_schema schema grammar response_format structured_outputs "
    "structural_tag tools functions metadata logit_bias documents chat_template_kwargs "
    "kv_transfer_params user stream_options"
)
_HARMLESS = frozenset(("servicetier", tier) for tier in ("auto", "default", "flex"))


class _Read(NamedTuple):
    """What a body's members say: limits by name, names that go, and what is wrong."""

    limits: dict[str, int]
    removed: list[str]
    wrong: list[Problem]
    unsupported: list[Problem]


def limited(request: CompletionRequest, cap: Cap | None, dialect: Dialect) -> CompletionRequest:
    """The request with exactly one limit on what is generated, at most the cap.

    Raises InvalidRequest naming every member that has no valid limit, exceeds the cap, or would
    generate more by another way.
    """
    if request.document.keys() <= CONTRACT and cap is None and request.max_tokens:
        return request.limited_to(request.max_tokens)  # nothing else that a server could read
    read = _read(request, dialect)
    wrong, unsupported = read.wrong, read.unsupported
    if not wrong:
        tokens, name = _smallest(read.limits, cap)
        if cap is not None and tokens > cap.tokens:
            why = f"must be at most {cap.tokens}, {cap.whose} `max_output_tokens`; not {tokens}"
            wrong.append(_problem(name, why))
        if tokens == 0 and not dialect.zero_is_none:
            unsupported.append(_problem(name, "of 0 is no limit to the model's provider"))
        wrong += _floors(request.document, dialect, tokens)
    if wrong or unsupported:
        problems = [*wrong, *unsupported][:MOST_PROBLEMS]
        raise InvalidRequest.of(problems, code=None if wrong else "unsupported_parameter")
    return request.limited_to(tokens, read.removed)


def says_more(request: CompletionRequest, dialect: Dialect) -> bool:
    """Whether a body has members by which a server may generate more than ``max_tokens``."""
    read = _read(request, dialect)
    return bool(read.removed or read.wrong or read.unsupported)


def _read(request: CompletionRequest, dialect: Dialect) -> _Read:
    document = request.document
    read = _Read({}, [], [], [])
    if "max_tokens" in document:
        read.limits["max_tokens"] = request.max_tokens
    if document.keys() <= CONTRACT:
        return read
    for name, value in document.items():
        if name not in CONTRACT:
            _read_member(read, name, value, dialect)
    return read


def _read_member(read: _Read, name: str, value: Any, dialect: Dialect) -> None:
    known = folded(name)
    if known in dialect.limits:
        read.removed.append(name)
        _read_limit(read, name, value)
    elif known in dialect.candidates:
        if value is None or value in (0, 1):
            read.removed.append(name)
        else:
            why = "generates more than is asked for by `n` and `best_of`; use those"
            read.unsupported.append(_problem(name, why))
    elif known in dialect.refused:
        if value is None or value is False:
            read.removed.append(name)
        elif not (isinstance(value, str) and (known, value) in _HARMLESS):
            read.unsupported.append(_problem(name, dialect.refused[known]))
    elif known in _PAID_BY:
        why = f"is another spelling of `{_PAID_BY[known]}`; write that"
        read.unsupported.append(_problem(name, why))
    elif type(value) is dict and known not in _SCHEMAS:
        read.unsupported.extend(_nested(name, value, dialect))


def _read_limit(read: _Read, name: str, value: Any) -> None:
    if value is None:
        return
    tokens = _whole(value)
    if tokens is None or tokens < 1:
        why = f"must be an integer of at least 1, such as {DEFAULT_MAX_TOKENS}: what is generated"
        read.wrong.append(_problem(name, f"{why} is paid for or limited"))
    else:
        read.limits[name] = tokens


def _smallest(limits: Mapping[str, int], cap: Cap | None) -> tuple[int, str]:
    """The smallest limit and its name; the default where there is none."""
    if limits:
        return min((tokens, name) for name, tokens in limits.items())
    default = DEFAULT_MAX_TOKENS if cap is None else min(DEFAULT_MAX_TOKENS, cap.tokens)
    return default, "max_tokens"


def _floors(document: Mapping[str, Any], dialect: Dialect, tokens: int) -> Iterator[Problem]:
    if document.keys() <= CONTRACT:
        return
    for name, value in document.items():
        if value is not None and folded(name) in dialect.floors:
            least = _whole(value)
            if least is None or not 0 <= least <= tokens:
                why = f"must be an integer from 0 to {tokens}, what may be generated at most"
                yield _problem(name, why)


def _nested(place: str, found: dict[str, Any], dialect: Dialect) -> Iterator[Problem]:
    """Every limit or number of answers inside an object, by its path."""
    waiting = [(place, found)]
    while waiting:
        inside, members = waiting.pop()
        for name, value in members.items():
            known = folded(name)
            if known in _PAID_BY or any(known in names for names in dialect[:4]):
                yield _problem(f"{inside}.{name}", "cannot be bounded inside an object")
            elif type(value) is dict and known not in _SCHEMAS:
                waiting.append((f"{inside}.{name}"[:MOST_NAME], value))


def _whole(value: Any) -> int | None:
    """An integer, also one written with a fraction of zero; None for anything else."""
    if type(value) is int:
        return value
    return int(value) if type(value) is float and value.is_integer() else None


def _problem(name: str, why: str) -> Problem:
    name = name if len(name) <= MOST_NAME else name[:MOST_NAME] + "…"
    return Problem(name, f"`{name}` {why}.")
