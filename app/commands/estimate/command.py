"""The command line of `headgate cache estimate`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click
import orjson

from app.commands.files import fail, load_text, read_text
from app.config.values.quantities import Duration
from app.core.pricing import Price, nano_dollars


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--config",
    "config",
    type=click.Path(dir_okay=False),
    help="Take each model's `cache` and price from this configuration file.",
)
@click.option(
    "--output-tokens",
    type=click.IntRange(0, 10**6),
    default=200,
    show_default=True,
    help="Tokens of an answer, where the log does not say.",
)
@click.option(
    "--input-price",
    type=click.FloatRange(0, 10**6),
    help="US dollars per million tokens, for every model.",
)
@click.option("--output-price", type=click.FloatRange(0, 10**6), help="The same for answers.")
@click.option("--ttl", help="How long an answer is kept (90s, 1h, 7d); needs `time` in the log.")
@click.option(
    "--pairs",
    type=click.IntRange(0, 1000),
    default=10,
    show_default=True,
    help="Answers by meaning to print for reading.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def estimate(
    file: Path,
    config: str | None,
    output_tokens: int,
    input_price: float | None,
    output_price: float | None,
    ttl: str | None,
    pairs: int,
    as_json: bool,
) -> None:
    """Say what the cache would have answered of a log of prompts, and what that saves.

    FILE holds JSON, one request a line: a body of /v1/completions or /v1/chat/completions, or an
    object with such a body under `request` (or `body`) and, if you have them, `usage` (with
    `prompt_tokens` and `completion_tokens`), `tenant`, and `time` (ISO 8601, or seconds since 1970).

    \b
    exact         equal requests, byte for byte in the prompt
    + normalized  equal but for Unicode form, line ends, outer white space (`normalize`)
    + cache.ignore  equal but for what the model's `ignore` matches (with --config)
    + tier 1      equal by the semantic cache's strict key
    + tier 1b     equal by its wide key

    Each row counts those above it in. Nothing is sent anywhere. Some 600 bytes of memory for each
    different prompt.
    """
    if (input_price is None) != (output_price is None):
        fail("--input-price and --output-price: name both or none")
    try:
        seconds = float(Duration.parse(ttl)) if ttl is not None else None
    except (ValueError, OverflowError) as error:
        fail(f"--ttl: {error}")
    settings = load_text(read_text(config), config).settings if config is not None else None

    from app.commands.estimate import report  # noqa: PLC0415 - the other commands start without it
    from app.commands.estimate.estimate import Terms, played  # noqa: PLC0415
    from app.commands.estimate.prompt_log import PromptLog  # noqa: PLC0415

    price = None
    if input_price is not None and output_price is not None:
        price = Price(nano_dollars(input_price), nano_dollars(output_price))
    terms = Terms(output_tokens, seconds, price, pairs)
    try:
        log = PromptLog(file)
        found = played(log, settings, terms, _progress(log.size))
        if not found.requests:
            problems = [f"line {line.number}: {line.why}" for line in found.unread]
            fail(f"{file}: holds no request", *problems)
        if as_json:
            figures = report.as_json(found)
            click.echo(orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode())
        else:
            click.echo("\n".join(report.report(found, log, terms)))
    except OSError as error:
        fail(f"{file}: {error.strerror}")


def _progress(size: int) -> Callable[[int, int], None]:
    """Says on a terminal how far a long file is read."""

    def say(lines: int, offset: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{lines:,} lines, {100 * offset // max(1, size)} %", err=True, nl=False)

    return say
