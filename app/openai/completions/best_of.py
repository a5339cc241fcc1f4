"""``best_of`` made of the choices of a server that has none: ranked by their log-probabilities. Pure.

OpenAI's rule: the best is the one with the highest log-probability per token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.core.errors import UpstreamInvalid


def score(choice: Mapping[str, Any]) -> float:
    """The mean log-probability of a choice's tokens; of none, the worst.

    Raises UpstreamInvalid where the upstream gave none although it was asked.
    """
    logprobs = choice.get("logprobs")
    listed = logprobs.get("token_logprobs") if isinstance(logprobs, Mapping) else None
    if not isinstance(listed, list):
        if choice.get("text") == "":
            return float("-inf")
        raise UpstreamInvalid(
            "The upstream gave no log-probabilities, by which to rank its choices."
        )
    known = [value for value in listed if isinstance(value, int | float)]
    return sum(known) / len(known) if known else float("-inf")


def best(
    choices: Sequence[dict[str, Any]], each: int, kept: int, *, logprobs: bool
) -> list[dict[str, Any]]:
    """Of each prompt's ``each`` choices the ``kept`` best, the best first.

    ``choices`` are in index order; without ``logprobs`` the caller did not ask for them.
    """
    made: list[dict[str, Any]] = []
    for start in range(0, len(choices), each):
        group = sorted(choices[start : start + each], key=score, reverse=True)
        for choice in group[:kept]:
            shown = {} if logprobs else {"logprobs": None}
            made.append(choice | shown | {"index": len(made)})
    return made
