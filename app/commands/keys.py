"""``headgate keys``: a key for a caller, for the file or in a running gateway."""

from __future__ import annotations

import re

import click

from app.commands.admin.client import AdminError
from app.commands.admin.command import client_of, show
from app.commands.admin.values import members
from app.commands.files import fail
from app.core.keys import digest_of, new_secret


@click.group()
def keys() -> None:
    """Callers' keys."""


@keys.command()
@click.argument("key_id", metavar="ID")
@click.argument("pairs", metavar="[NAME=VALUE…]", nargs=-1)
@click.option("--remote", is_flag=True, help="Make it in a running gateway, over its admin API.")
@click.option("--tenant", help="With --remote: whose key it is.")
@click.option("--url", help="With --remote: the management listener.")
def new(
    key_id: str, pairs: tuple[str, ...], tenant: str | None, url: str | None, *, remote: bool
) -> None:
    """Make a key for a caller: the secret to hand out, and the hash for the file.

    The secret is shown once and stored nowhere. With --remote the running gateway makes the key and
    it works at once; `headgate admin` does everything else there.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", key_id):
        fail(f"ID: {key_id!r} must be 1 to 64 letters, digits, dots, dashes or underscores")
    if remote:
        _make_remotely(key_id, pairs, tenant, url)
        return
    if pairs or tenant or url:
        fail("--tenant, --url and NAME=VALUE go with --remote; in the file you write them yourself")
    secret = new_secret(key_id)
    click.echo(f"secret         {secret}")
    click.echo(f"secret_sha256  {digest_of(secret).hex()}")
    click.echo("\nUnder `keys` in the configuration:", err=True)
    entry = f'  - {{id: {key_id}, tenant: TENANT, secret_sha256: "{digest_of(secret).hex()}"}}'
    click.echo(entry, err=True)


def _make_remotely(
    key_id: str, pairs: tuple[str, ...], tenant: str | None, url: str | None
) -> None:
    try:
        body = {**members(pairs), "id": key_id}
        if tenant is not None:
            body["tenant"] = tenant
        show(client_of(url).ask("POST", "/keys", body).document, as_json=False)
    except (AdminError, ValueError) as error:
        fail(*str(error).splitlines())
