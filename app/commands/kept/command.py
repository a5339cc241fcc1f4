"""``headgate cache``: forget kept answers, or estimate what a cache would save."""

from __future__ import annotations

import asyncio
import sys

import click

from app.commands.audit import record_act
from app.commands.estimate.command import estimate
from app.commands.files import fail, known_name, shared_configuration
from app.commands.tenants import every_tenant
from cache.store.base import StoreUnavailable


@click.group()
def cache() -> None:
    """The answers that the gateways keep."""


@cache.command("purge")
@click.option("--config", "file", type=click.Path(dir_okay=False), help="The configuration file.")
@click.option("--tenant", help="Only this tenant's.")
@click.option("--model", help="Only this alias's.")
@click.option("--namespace", help="Only those stored under this x-headgate-cache-namespace.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before everything is forgotten.")
def purge_command(
    file: str | None, tenant: str | None, model: str | None, namespace: str | None, yes: bool
) -> None:
    """Forget kept answers: everything, or what all given options name together.

    \b
    headgate cache purge --model demo    one model's answers
    headgate cache purge                 everything; asks first
    headgate cache purge --yes           everything, from a script

    It takes effect in every replica within a second, also for answers that are being made right
    now. Nothing is searched, so it takes equally long for one answer and for millions.
    """
    settings = shared_configuration(file, of_cache=True).settings
    everybody = every_tenant(settings)
    known_name("--tenant", tenant, everybody, "tenants")
    known_name("--model", model, settings.models, "models")
    named = {"tenant": tenant, "model": model, "namespace": namespace}
    chosen = [f"{name} {value}" for name, value in named.items() if value is not None]
    if not chosen and not yes:
        _ask(everybody)
    from app.commands.kept.purge import EVERYBODY, purge  # noqa: PLC0415 - needs redis, the others do not

    tenants = [*everybody, EVERYBODY] if tenant is None else [tenant]
    record_act(settings, "cache.purge", None, **named)
    try:
        asyncio.run(purge(settings, tenants, model, namespace))
    except StoreUnavailable as error:
        fail(f"the store cannot be reached: {error.detail}")
    click.echo(f"purged {', '.join(chosen) or 'everything'}")


def _ask(tenants: list[str]) -> None:
    """Go on only after a yes; where nobody can be asked, end with 1."""
    of = ", ".join(tenants) or "no tenant"
    if not _at_a_terminal():
        fail(
            f"--yes: this forgets every cached answer of all tenants ({of}), and nobody can be asked "
            "here; add --yes, or narrow it with --tenant, --model or --namespace"
        )
    if not click.confirm(f"Forget every cached answer of all tenants ({of})?", err=True):
        fail("nothing was forgotten")


def _at_a_terminal() -> bool:
    return sys.stdin.isatty()


cache.add_command(estimate, "estimate")
