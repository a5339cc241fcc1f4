"""How much may be generated, said to a server exactly once, whatever names the request uses.

Servers know more names than OpenAI's: llama.cpp reads ``n_predict`` before ``max_tokens`` and takes
-1 for no limit, transformers reads ``max_new_tokens``, TabbyAPI ``max_length``. Where money or
tokens were held for a bound, a second name beside it would make the bound a lie. So the smallest
value under any of these names becomes the bound and is sent under one name; every other one is
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

# Objects whose members are a schema's or a caller's own names, not parameters.
_SCHEMAS = _folded(
    "guided_json guided_grammar json_schema schema grammar response_format structured_outputs "
    "structural_tag tools functions metadata logit_bias documents chat_template_kwargs "
    "kv_transfer_params user stream_options"
)
_HARMLESS = frozenset(("servicetier", tier) for tier in ("auto", "default", "flex"))


class Contract(NamedTuple):
    """What a family's own members are to a limit.

    ``names`` are those that servers read as the contract says, ``limits`` those of them that say how
    much is generated. ``paid_by`` decide what is paid, by their folded names: `N` is `n` to a server
    written in Go.
    """

    names: frozenset[str]
    limits: tuple[str, ...]
    paid_by: Mapping[str, str]


def paid_by(*names: str) -> Mapping[str, str]:
    """Members by their folded names."""
    return {folded(name): name for name in names}


class _Read(NamedTuple):
    """What a body's members say: limits by name, names that go, and what is wrong."""

    limits: dict[str, int]
    removed: list[str]
    wrong: list[Problem]
    unsupported: list[Problem]


def one_limit(
    document: Mapping[str, Any], contract: Contract, cap: Cap | None, dialect: Dialect, absent: int
) -> tuple[int, list[str]]:
    """The only limit on what a body generates, at most the cap, and the members to remove.

    ``absent`` is the limit where the body has none. Raises InvalidRequest naming every member that
    has no valid limit, exceeds the cap, or would generate more by another way.
    """
    read = _read(document, contract, dialect)
    wrong, unsupported = read.wrong, read.unsupported
    if not wrong:
        tokens, name = _smallest(read.limits, cap, contract, absent)
        if cap is not None and tokens > cap.tokens:
            why = f"must be at most {cap.tokens}, {cap.whose} `max_output_tokens`; not {tokens}"
            wrong.append(_problem(name, why))
        if tokens == 0 and not dialect.zero_is_none:
            unsupported.append(_problem(name, "of 0 is no limit to the model's provider"))
        wrong += _floors(document, contract, dialect, tokens)
    if wrong or unsupported:
        problems = [*wrong, *unsupported][:MOST_PROBLEMS]
        raise InvalidRequest.of(problems, code=None if wrong else "unsupported_parameter")
    return tokens, read.removed


def says_more(document: Mapping[str, Any], contract: Contract, dialect: Dialect) -> bool:
    """Whether a body has members by which a server may generate more than the contract's limit."""
    read = _read(document, contract, dialect)
    return bool(read.removed or read.wrong or read.unsupported)


def refuse_dearer(document: Mapping[str, Any], contract: Contract, dialect: Dialect) -> None:
    """For what generates nothing. Raises InvalidRequest naming the members that cost more by
    another way."""
    problems = _read(document, contract, dialect).unsupported[:MOST_PROBLEMS]
    if problems:
        raise InvalidRequest.of(problems, code="unsupported_parameter")


def _read(document: Mapping[str, Any], contract: Contract, dialect: Dialect) -> _Read:
    read = _Read({}, [], [], [])
    for name in contract.limits:
        if name in document:
            read.limits[name] = document[name]
    if document.keys() <= contract.names:
        return read
    for name, value in document.items():
        if name not in contract.names:
            _read_member(read, name, value, dialect, contract)
    return read


def _read_member(read: _Read, name: str, value: Any, dialect: Dialect, contract: Contract) -> None:
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
    elif known in contract.paid_by:
        why = f"is another spelling of `{contract.paid_by[known]}`; write that"
        read.unsupported.append(_problem(name, why))
    elif type(value) is dict and known not in _SCHEMAS:
        read.unsupported.extend(_nested(name, value, dialect, contract.paid_by))


def _read_limit(read: _Read, name: str, value: Any) -> None:
    if value is None:
        return
    tokens = _whole(value)
    if tokens is None or tokens < 1:
        why = (
            "must be an integer of at least 1, such as 16: what is generated is paid for or limited"
        )
        read.wrong.append(_problem(name, why))
    else:
        read.limits[name] = tokens


def _smallest(
    limits: Mapping[str, int], cap: Cap | None, contract: Contract, absent: int
) -> tuple[int, str]:
    """The smallest limit and its name."""
    if limits:
        return min((tokens, name) for name, tokens in limits.items())
    return absent if cap is None else min(absent, cap.tokens), contract.limits[0]


def _floors(
    document: Mapping[str, Any], contract: Contract, dialect: Dialect, tokens: int
) -> Iterator[Problem]:
    if document.keys() <= contract.names:
        return
    for name, value in document.items():
        if value is not None and folded(name) in dialect.floors:
            least = _whole(value)
            if least is None or not 0 <= least <= tokens:
                why = f"must be an integer from 0 to {tokens}, what may be generated at most"
                yield _problem(name, why)


def _nested(
    place: str, found: dict[str, Any], dialect: Dialect, paid_by: Mapping[str, str]
) -> Iterator[Problem]:
    """Every limit or number of answers inside an object, by its path."""
    waiting = [(place, found)]
    while waiting:
        inside, members = waiting.pop()
        for name, value in members.items():
            known = folded(name)
            if known in paid_by or any(known in names for names in dialect[:4]):
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
