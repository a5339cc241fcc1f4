"""``headgate guard test FILE``: what the guardrails of a configuration make of some texts."""

from __future__ import annotations

import asyncio
import sys
from typing import TextIO

import click

from app.commands.files import fail, load_text, read_text, required_file
from app.config.settings import Settings


@click.group()
def guard() -> None:
    """Try guardrails."""


@guard.command("test")
@click.argument("texts", type=click.File("r", encoding="utf-8"))
@click.option("--config", "file", help="The configuration file.")
@click.option("--phase", type=click.Choice(["input", "output"]), default="input", show_default=True)
@click.option("--model", default="", help="As a request for this model.")
@click.option("--tenant", default="", help="As a request of this tenant.")
@click.option("--key", default="", help="As a request of this key.")
@click.option("--ask", "asked", multiple=True, help="Also a guardrail that waits to be asked for.")
def guard_test(
    texts: TextIO,
    file: str | None,
    phase: str,
    model: str,
    tenant: str,
    key: str,
    asked: tuple[str, ...],
) -> None:
    r"""Say what becomes of each text of a file, one a line (\n in a text: a line's end).

    Rules beyond a network are not asked. Ends with 1 where a text is blocked.
    """
    path = required_file(file)
    settings = load_text(read_text(path), path).settings
    if not settings.guardrails:
        fail(f"{path}: has no `guardrails`")
    lines = [line.rstrip("\n") for line in texts]
    blocked = asyncio.run(_test(settings, lines, phase, (model, tenant, key), frozenset(asked)))
    sys.exit(1 if blocked else 0)


async def _test(
    settings: Settings,
    lines: list[str],
    phase: str,
    place: tuple[str, str, str],
    asked: frozenset[str],
) -> bool:
    """Print a line for each text; whether any was blocked."""
    from app.core.errors import GatewayError  # noqa: PLC0415 - the rest needs an extra
    from app.guardrails.plan import GuardPlans  # noqa: PLC0415
    from app.guardrails.reading import Reading, Report  # noqa: PLC0415
    from app.guardrails.rule import Asked  # noqa: PLC0415
    from app.guardrails.texts.walk import Text  # noqa: PLC0415
    from app.policy.guardrails import rule_of  # noqa: PLC0415

    plans = GuardPlans([rule_of(name, one) for name, one in settings.guardrails.items()])
    if plans.unknown(asked):
        fail(f"--ask: {plans.unknown(asked)[0]!r} is no guardrail with `on_request`")
    chosen = plans.of(*place, asked)
    plan = chosen.input if phase == "input" else chosen.output
    if plan is None:
        fail(f"no guardrail holds for the {phase} of such a request")
    blocked = False
    for number, line in enumerate(lines, 1):
        report = Report()
        reading = Reading(plan, report, Asked("", plan.phase, place[1], place[2], place[0], ""))
        text = line.replace("\\n", "\n")
        try:
            changed = await reading.read([Text((), text)])
        except GatewayError:
            blocked, verdict, new = True, "block", ""
        else:
            verdict = "redact" if changed else "pass"
            new = changed.get(0, "")
        found = ", ".join(sorted(f"{what}={action}" for _, what, action in report.actions))
        shown = new.replace("\n", "\\n")
        click.echo("\t".join([str(number), verdict, found, shown]).rstrip("\t"))
    return blocked
