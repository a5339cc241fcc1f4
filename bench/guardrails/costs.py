"""What looking a text through costs: CPU per kibibyte, and how long a mebibyte stops the loop."""

from __future__ import annotations

import asyncio
import gc
import random
import time

from app.config import guardrails as sections
from app.guardrails.matching.scanner import Words
from app.guardrails.plan import PhasePlan
from app.guardrails.reading import Reading, Report
from app.guardrails.rule import Asked, Rule, Scope
from app.guardrails.texts.walk import Text
from app.policy.guardrails import rule_of
from bench.guardrails.texts import CLEAN, DENSE, NASTY

ROUNDS = 40


def all_kinds() -> PhasePlan:
    """Secrets, personal data, 1,000 keywords and the injection patterns, twice over to 50."""
    rng = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(rng.choices(letters, k=rng.randint(6, 14))) for _ in range(1000)]
    injection = rule_of("injection", sections.InjectionRule(mode="block"))
    more = injection._replace(name="more", patterns=injection.patterns * 3)
    more = more._replace(patterns=more.patterns[: 50 - len(injection.patterns)])
    keywords = Rule(
        "rivals", "keywords", "block", ("input",), Scope(), b"", words=(Words("rivals", words),)
    )
    rules = [
        rule_of("secrets", sections.SecretsRule()),
        rule_of("pii", sections.PiiRule(mode="redact")),
        keywords,
        injection,
        more,
    ]
    return PhasePlan("input", rules)


def report() -> list[str]:
    """The lines to print."""
    gc.collect()  # as a worker sets its collector
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    plan = all_kinds()
    patterns = sum(len(rule.patterns) for rule in plan.rules)
    lines = [f"rules: {patterns} patterns and 1,000 keywords, all of them over every text", ""]
    for name, text, size in (
        ("clean English", CLEAN, 1 << 10),
        ("clean English", CLEAN, 16 << 10),
        ("clean English", CLEAN, 1 << 20),
    ):
        lines.append(
            f"{name:<28}{size >> 10:>6} KiB  {per_kib(plan, text, size):>8.1f} us of CPU per KiB"
        )
    lines.append("")
    for name, text in (
        ("clean English", CLEAN),
        ("full of matches", DENSE),
        ("catastrophic-looking", NASTY),
    ):
        stop, total = longest_stop(plan, text, 1 << 20)
        lines.append(
            f"{name:<28}  1024 KiB  stops the loop for {stop * 1000:.1f} ms at most, "
            f"takes {total * 1000:.0f} ms in all"
        )
    return lines


def per_kib(plan: PhasePlan, text: str, size: int) -> float:
    """Microseconds of CPU."""
    whole = (text * (size // len(text) + 1))[:size]
    rounds = max(2, ROUNDS * (16 << 10) // size)
    _read(plan, whole)
    best = min(_timed(plan, whole, rounds) for _ in range(5))
    return best * 1e6 / (size / 1024)


def _timed(plan: PhasePlan, text: str, rounds: int) -> float:
    began = time.process_time()
    for _ in range(rounds):
        _read(plan, text)
    return (time.process_time() - began) / rounds


def _read(plan: PhasePlan, text: str) -> None:
    reading = Reading(plan, Report(), Asked("", "input", "", "", "", ""))
    step = reading.read([Text(("prompt",), text)])
    try:
        while True:  # without a loop: what it costs, and not what waiting for a turn costs
            step.send(None)
    except StopIteration:
        return


def longest_stop(plan: PhasePlan, text: str, size: int) -> tuple[float, float]:
    """Seconds for which others had no turn at most, and seconds in all."""

    redacting = PhasePlan("input", [r._replace(mode="redact") for r in plan.rules])
    _read(redacting, text)

    async def run() -> tuple[float, float]:
        gaps: list[float] = []
        over = False

        async def watch() -> None:
            last = time.thread_time()
            while not over:
                await asyncio.sleep(0)
                now = time.thread_time()
                gaps.append(now - last)
                last = now

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0.01)
        gaps.clear()
        began = time.perf_counter()
        reading = Reading(redacting, Report(), Asked("", "input", "", "", "", ""))
        await reading.read([Text(("prompt",), (text * (size // len(text) + 1))[:size])])
        total = time.perf_counter() - began
        over = True
        await watching
        return max(gaps), total

    return asyncio.run(run())
