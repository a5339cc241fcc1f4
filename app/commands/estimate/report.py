"""What `headgate cache estimate` prints: tables for a person, or figures for a machine."""

from __future__ import annotations

from collections.abc import Iterator

from app.commands.estimate.estimate import EXACT, IGNORING, LEVELS, Estimate, Terms
from app.commands.estimate.prompt_log import PromptLog
from app.core.pricing import dollars_text
from app.core.units import NanoDollars

MAX_SHOWN = 300  # characters of a prompt


def as_json(found: Estimate) -> dict[str, object]:
    """All figures; money in nano-dollars."""
    return {
        "requests": found.requests,
        "lookups": found.lookups,
        "tokens": found.tokens,
        "cost_nano_usd": found.cost,
        "levels": {
            level: {"hits": tally.hits, "tokens": tally.tokens, "saved_nano_usd": tally.cost}
            for level, tally in found.levels.items()
        },
        "sampled": {
            "lookups": found.sampled_lookups,
            "hits": found.sampled.hits,
            "tokens": found.sampled.tokens,
            "saved_nano_usd": found.sampled.cost,
        },
        "not_compared": dict(found.not_compared),
        "unread_lines": found.unread_lines,
        "unknown_prices": sorted(found.unknown_prices),
    }


def report(found: Estimate, log: PromptLog, terms: Terms) -> Iterator[str]:
    """The lines of the page."""
    yield f"{log.path}: {found.requests:,} requests, {found.lookups:,} prompts"
    if found.unread_lines:
        yield f"{found.unread_lines:,} lines could not be read:"
        yield from (f"  line {line.number:,}: {line.why}" for line in found.unread)
    yield ""
    yield from _table(found)
    yield ""
    yield from _besides(found)
    yield from _terms(found, terms)
    yield from _pairs(found, log)


def _table(found: Estimate) -> Iterator[str]:
    """Each row is what a cache of this and all kinds above would have answered."""
    yield f"{'':24}{'hits':>10}{'rate':>9}{'tokens saved':>16}{'saved USD':>14}{'of cost':>9}"
    hits = tokens = cost = 0
    for level in LEVELS:
        tally = found.levels[level]
        if level == IGNORING and not tally.hits:
            continue
        hits, tokens, cost = hits + tally.hits, tokens + tally.tokens, cost + tally.cost
        name = level if level == EXACT else f"+ {level}"
        yield (
            f"{name:24}{hits:>10,}{_share(hits, found.lookups):>9}{tokens:>16,}"
            f"{_money(cost):>14}{_share(cost, found.cost):>9}"
        )


def _besides(found: Estimate) -> Iterator[str]:
    if found.sampled_lookups:
        yield (
            f"{found.sampled_lookups:,} prompts are sampled (no seed, temperature absent or above "
            "0), so they are met exactly only."
        )
        yield (
            f"With `semantic: {{sampled: reuse}}` meaning would answer {found.sampled.hits:,} of "
            f"them and save {_money(found.sampled.cost)} USD more."
        )
    if found.not_compared:
        reasons = ", ".join(f"{why} {many:,}" for why, many in found.not_compared.most_common())
        yield f"without a strict key, so not for tier 1: {found.not_compared.total():,} ({reasons})"


def _terms(found: Estimate, terms: Terms) -> Iterator[str]:
    guessed = found.requests - found.with_usage
    if guessed:
        yield (
            f"tokens of {guessed:,} requests are estimated: prompts by their length, answers as "
            f"{terms.output_tokens:,} tokens (--output-tokens) or their limit, if that is less"
        )
    kept = "as long as the log lasts" if terms.ttl is None else f"{terms.ttl:g} s (--ttl)"
    yield f"an answer is kept for {kept}; tier 2 is left out, see docs/semantic.md"
    if found.unknown_prices:
        names = ", ".join(sorted(found.unknown_prices)[:10])
        yield f"no price is known for {names}: name one with --input-price and --output-price"


def _pairs(found: Estimate, log: PromptLog) -> Iterator[str]:
    if not found.pairs:
        return
    yield ""
    yield "The riskiest answers by meaning, to read: would the first answer do for the second?"
    for pair in sorted(found.pairs, reverse=True):
        by = f" ({', '.join(pair.rules)})" if pair.rules else ""
        yield f"  kept   {_shown(log.text(pair.kept))}"
        yield f"  asked  {_shown(log.text(pair.asked))}"
        yield f"         {pair.level}{by}"


def _shown(text: str) -> str:
    """One line, and nothing that a terminal would obey."""
    line = " ".join(text.split())
    line = line if len(line) <= MAX_SHOWN else line[: MAX_SHOWN - 1] + "\u2026"
    return "".join(char if char.isprintable() else "\ufffd" for char in line)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "-"


def _money(amount: int) -> str:
    """Dollars to the cent, or in full below one."""
    if amount >= 10**9:
        return f"{amount / 10**9:,.2f}"
    return dollars_text(NanoDollars(amount))
