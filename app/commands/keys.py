"""``headgate keys``: a key for a caller, for the file or in a running gateway; and the file's."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import click

from app.commands.admin.client import AdminError
from app.commands.admin.command import client_of, show
from app.commands.admin.values import members
from app.commands.files import fail, json_text, known_name, load_text, read_text, required_file
from app.config.checks.references import expiry
from app.config.settings import CallerKey
from app.core.keys import digest_of, new_secret

HEADINGS = ("id", "tenant", "capabilities", "models", "limits", "budget", "expires", "secret")


@click.group()
def keys() -> None:
    """Callers' keys: make one, list those of the file."""


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


@keys.command("list")
@click.option("--config", "file", type=click.Path(dir_okay=False), help="The configuration file.")
@click.option("--tenant", help="Only this tenant's.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON document, for programs.")
def list_command(file: str | None, tenant: str | None, as_json: bool) -> None:
    """List the keys of the file: whose they are, what they may do, when they end.

    Never a secret, and no hash of one: the last column says how the file holds it.
    """
    file = required_file(file)
    settings = load_text(read_text(file), file).settings
    known_name("--tenant", tenant, settings.tenants, "tenants")
    now = datetime.now(UTC).timestamp()
    rows = [_row(key, now) for key in settings.keys if tenant in (None, key.tenant)]
    click.echo(json_text({"object": "keys", "keys": rows}) if as_json else _table(rows))


def _row(key: CallerKey, now: float) -> dict[str, Any]:
    ends = expiry(key.expires) if key.expires is not None else None
    held = {"secret": key.secret, "sha256": key.secret_sha256, "file": key.secret_file}
    return {
        "id": key.id,
        "tenant": key.tenant,
        "capabilities": list(key.capabilities),
        "models": list(key.models),
        "limits": key.limits,
        "budget": key.budget,
        "expires": key.expires,
        "expired": ends is not None and ends <= now,
        "secret": [name for name, secrets in held.items() if secrets],
    }


def _table(rows: list[dict[str, Any]]) -> str:
    cells = [list(HEADINGS)]
    for row in rows:
        shown = {name: _text(row[name]) for name in HEADINGS}
        shown["expires"] += " (expired)" if row["expired"] else ""
        cells.append([shown[name] for name in HEADINGS])
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else value or "-"
