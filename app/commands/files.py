"""What the commands share: finding, reading and checking the configuration file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import NoReturn

import click
import orjson

from app.config.loading import ConfigError, Loaded, config_file_from_environment, load, read

USUAL_FILE = "gateway.yaml"


def fail(*problems: str) -> NoReturn:
    """Print the problems and end with 1."""
    for problem in problems:
        click.echo(problem, err=True)
    sys.exit(1)


def known_name(option: str, name: str | None, known: Iterable[str | None], section: str) -> None:
    """End with 1 where a name was given that is none of those ``known``; name one that is near."""
    names = sorted({one for one in known if one})
    if name is None or name in names:
        return
    near = get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    fail(f"{option}: no such entry in `{section}`: {name!r}{hint}")


def json_text(document: object) -> str:
    """A document as a command prints it."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


def find_file(given: str | None) -> str | None:
    """The file that was named, else HEADGATE_CONFIG's, else ./gateway.yaml where there is one."""
    named = given or config_file_from_environment()
    if named is None and Path(USUAL_FILE).is_file():
        return USUAL_FILE
    return named


def required_file(given: str | None) -> str:
    """``find_file``, for commands that cannot do without; ends with 1 where there is none."""
    file = find_file(given)
    if file is None:
        fail(
            f"--config: name the configuration file (or set HEADGATE_CONFIG, or run this where "
            f"{USUAL_FILE} is); `headgate init` writes one"
        )
    return file


def read_text(file: str) -> str:
    """The text of a file; ends with 1 where it cannot be read."""
    try:
        return read(file)
    except ConfigError as error:
        fail(*error.problems)


def load_text(text: str, source: str, *, serving: bool = False) -> Loaded:
    """A checked configuration, its warnings printed; ends with 1 and every problem otherwise.

    With ``serving``, the warnings are printed in the form of the log.
    """
    try:
        loaded = load(text, source)
    except ConfigError as error:
        fail(*error.problems)
    say: Callable[[str], None] = partial(click.echo, err=True)
    if serving and loaded.settings.log.format == "json":
        from app.observability.own_lines import sayer  # noqa: PLC0415 - most commands need none

        say = sayer("json")
    for warning in loaded.warnings:
        say(f"warning: {warning}")
    return loaded


def shared_configuration(file: str | None, *, of_cache: bool = False) -> Loaded:
    """The configuration of gateways whose store (or the cache's) can be asked from here."""
    file = required_file(file)
    loaded = load_text(read_text(file), file)
    reachable = of_cache and loaded.settings.cache_store is not None
    if not reachable and loaded.settings.store.url.reveal().startswith("memory:"):
        fail("store.url: memory:// lives inside the gateway's process, out of reach from here")
    return loaded
