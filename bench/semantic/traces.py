"""`python -m bench.semantic.traces`: what repeats in traffic besides rewordings, and who answers it.

Four traces are made, each of 1,000 requests from a fixed seed, and played through the cache's keys
as `headgate cache estimate` does: small variants of a prompt, templates whose slots are filled alike,
chats whose last turn repeats, and prompts with a volatile id and date.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from app.commands.estimate.estimate import LEVELS, Terms, played
from app.commands.estimate.prompt_log import PromptLog
from app.config.loading import load

REQUESTS = 1000
IGNORE = (r"request id \S+", r"Today is \d{4}-\d\d-\d\d\.")
CONFIG = f"""\
providers: {{up: {{kind: simulator}}}}
models:
  house: {{targets: [{{provider: up, model: m}}], cache: {{ignore: {json.dumps(IGNORE)}}}}}
"""

ANIMALS = "wombat otter badger heron weasel marmot lynx puffin tapir walrus".split()
ASPECTS = "eat in winter|sleep at night|raise its young|cross a river|keep warm".split("|")
TURNS = ("How much of it?", "Why is that?", "Give me three examples", "And in summer?")


def variants(chance: random.Random) -> dict[str, Any]:
    """One of 50 questions, with another case, spacing or punctuation."""
    text = f"How does a {chance.choice(ANIMALS)} {chance.choice(ASPECTS)}?"
    written = [
        text, text, text.lower(), text.upper(), text.rstrip("?"), f"  {text}\n",
        text.replace(" ", "  ", 1), text + "?",
    ]  # fmt: skip
    return {"prompt": chance.choice(written)}


def templates(chance: random.Random) -> dict[str, Any]:
    """A template whose slots are filled from short lists."""
    animal, aspect = chance.choice(ANIMALS), chance.choice(ASPECTS)
    return {"prompt": f"You write for children.\nTopic: {animal}\nTell how it may {aspect}."}


def chats(chance: random.Random) -> dict[str, Any]:
    """An equal history and one of a few last turns, written by different people."""
    animal = chance.choice(ANIMALS)
    turn = chance.choice(TURNS)
    turn = chance.choice([turn, turn.lower(), turn.rstrip("?"), f"please {turn.lower()}"])
    return {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": f"What does a {animal} eat?"},
            {"role": "assistant", "content": "Mostly grass."},
            {"role": "user", "content": turn},
        ]
    }


def volatile(chance: random.Random) -> dict[str, Any]:
    """One of 50 questions with an id and a date that the answer does not depend on."""
    day = f"Today is 2026-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}."
    said = f"How does a {chance.choice(ANIMALS)} {chance.choice(ASPECTS)}?"
    return {"prompt": f"{day} {said} (request id {chance.getrandbits(64):x})"}


TRACES = {made.__name__: made for made in (variants, templates, chats, volatile)}


def lines(trace: Callable[[random.Random], dict[str, Any]], seed: int) -> Iterator[str]:
    """A trace as the lines of a log."""
    chance = random.Random(seed)
    for _ in range(REQUESTS):
        yield json.dumps({"model": "house", "temperature": 0} | trace(chance)) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints, for each trace, the share of requests that each level adds."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.semantic.traces",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=1, help="of the traces (default 1)")
    seed = parser.parse_args(argv).seed
    settings = load(CONFIG, "traces", {}).settings
    print(f"{'':12}" + "".join(f"{level:>14}" for level in LEVELS) + f"{'together':>14}")
    with tempfile.TemporaryDirectory() as folder:
        for name, trace in TRACES.items():
            file = Path(folder) / f"{name}.jsonl"
            file.write_text("".join(lines(trace, seed)))
            found = played(PromptLog(file), settings, Terms(pairs=0))
            hits = [found.levels[level].hits for level in LEVELS]
            shares = [f"{100 * each / found.lookups:.1f} %" for each in (*hits, sum(hits))]
            print(f"{name:12}" + "".join(f"{share:>14}" for share in shares))
    return 0


if __name__ == "__main__":
    sys.exit(main())
