"""The commands: ``headgate serve | check | schema | usage | cache | keys``."""

from __future__ import annotations

import asyncio
import re
import sys
from datetime import timedelta
from typing import NoReturn

import click
import orjson
from msgspec.structs import replace

from app import __version__
from app.config.loading import (
    ConfigError,
    Loaded,
    config_file_from_environment,
    json_schema,
    load,
    read,
)
from app.config.quantities import Duration
from app.core.keys import GATEWAY, digest_of, new_secret
from cache.store.base import StoreUnavailable

BUILT_IN = """\
server: {{host: "{host}", port: {port}}}
providers:
  trial: {{kind: simulator, tokens_per_second: 50}}
models:
  demo: {{targets: [{{provider: trial, model: simulator-1}}]}}
tenants:
  trial: {{}}
keys:
  - {{id: trial, tenant: trial, secret: "{secret}", capabilities: [completions, chat, embeddings]}}
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="headgate")
def main() -> None:
    """An edge gateway for LLM completions.

    \b
    Try it:             headgate serve
    With your own file: headgate check gateway.yaml && headgate serve --config gateway.yaml
    A key for a caller: headgate keys new acme-web
    """


@main.command()
@click.option("--config", "file", type=click.Path(dir_okay=False), help="The configuration file.")
@click.option("--host", help="Listen on this address instead of the file's.")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen on this port.")
@click.option("--workers", type=click.IntRange(1, 256), help="Run this many worker processes.")
def serve(file: str | None, host: str | None, port: int | None, workers: int | None) -> None:
    """Run the gateway.

    Without --config (or HEADGATE_CONFIG) it runs a built-in configuration: no network needed, a
    simulator behind the model `demo`, and a key that it prints. SIGHUP reads the file anew; a bad
    file changes nothing. SIGTERM waits for load balancers to notice, then finishes running
    requests; SIGINT (Ctrl-C) does not wait.
    """
    file = file or config_file_from_environment()
    secret = None
    if file is None:
        secret = new_secret("trial")
        text = BUILT_IN.format(
            host=host or "127.0.0.1", port=8080 if port is None else port, secret=secret
        )
        source = "built-in configuration"
    else:
        text, source = _read(file), file
    loaded = _load(text, source)
    given = {"host": host, "port": port, "workers": workers}
    changes = {name: value for name, value in given.items() if value is not None}
    server = replace(loaded.settings.server, **changes)
    if server.workers > 1 and loaded.settings.store.url.reveal().startswith("memory:"):
        _fail(
            ["--workers: more than one worker needs a shared store; set `store.url` to redis://…"]
        )
    # Here, so that the other commands start at once.
    from app.serve import Main, free_port  # noqa: PLC0415

    try:
        if server.port == 0:
            server = replace(server, port=free_port(server.host))
        settings = replace(loaded.settings, server=server)
        loaded = Loaded(settings, loaded.warnings, loaded.generation)
        gateway = Main(loaded, text, source, file)
    except OSError as error:
        _fail([str(error)])
    _greet(loaded, secret)
    if not gateway.run():
        _fail(["no worker could start; the lines above say why"])


@main.command()
@click.argument("file", type=click.Path(dir_okay=False))
def check(file: str) -> None:
    """Check a configuration file; print every problem with its line, or nothing wrong.

    Exits with 0 where the file can be used (warnings do not count), else with 1.
    """
    loaded = _load(_read(file), file)
    settings = loaded.settings
    click.echo(
        f"{file}: ok, {len(settings.models)} models, {len(settings.providers)} providers, "
        f"{len(settings.keys)} keys; configuration {loaded.generation}"
    )


@main.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    click.echo(orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2).decode())


@main.command()
@click.option("--config", "file", type=click.Path(dir_okay=False), help="The configuration file.")
@click.option("--tenant", help="Only this tenant.")
@click.option("--key", "key_id", help="Only this key.")
@click.option("--model", help="Only this alias.")
@click.option("--since", default="24h", show_default=True, help="How far back: 90m, 24h, 30d.")
def usage(
    file: str | None, tenant: str | None, key_id: str | None, model: str | None, since: str
) -> None:
    """Print what was used, by tenant, key and model, from the store that the gateways share."""
    settings = _shared_configuration(file).settings
    if tenant is not None and tenant not in settings.tenants:
        _fail([f"--tenant: no such entry in `tenants`: {tenant!r}"])
    try:
        span = timedelta(seconds=Duration.parse(since))
    except (ValueError, OverflowError) as error:
        _fail([f"--since: {error}"])
    tenants = [tenant] if tenant is not None else [*sorted(settings.tenants), GATEWAY]

    from app.commands.usage import collect, table  # noqa: PLC0415 - needs redis, the others do not

    try:
        rows = asyncio.run(collect(settings.store, tenants, span))
    except StoreUnavailable as error:
        _fail([f"the store cannot be reached: {error}"])
    chosen = [row for row in rows if key_id in (None, row.key) and model in (None, row.model)]
    click.echo("\n".join(table(chosen)))


@main.group()
def cache() -> None:
    """The answers that the gateways keep."""


@cache.command("purge")
@click.option("--config", "file", type=click.Path(dir_okay=False), help="The configuration file.")
@click.option("--tenant", help="Only this tenant's.")
@click.option("--model", help="Only this alias's.")
@click.option("--namespace", help="Only those stored under this x-headgate-cache-namespace.")
def purge_command(
    file: str | None, tenant: str | None, model: str | None, namespace: str | None
) -> None:
    """Forget kept answers: everything, or what all given options name together.

    It takes effect in every replica within a second, also for answers that are being made right
    now. Nothing is searched, so it takes equally long for one answer and for millions.
    """
    settings = _shared_configuration(file, of_cache=True).settings
    if tenant is not None and tenant not in settings.tenants:
        _fail([f"--tenant: no such entry in `tenants`: {tenant!r}"])
    if model is not None and model not in settings.models:
        _fail([f"--model: no such entry in `models`: {model!r}"])
    from app.commands.purge import EVERYBODY, purge  # noqa: PLC0415 - needs redis, the others do not

    tenants = [*sorted(settings.tenants), EVERYBODY] if tenant is None else [tenant]
    try:
        asyncio.run(purge(settings, tenants, model, namespace))
    except StoreUnavailable as error:
        _fail([f"the store cannot be reached: {error}"])
    named = {"tenant": tenant, "model": model, "namespace": namespace}
    chosen = [f"{name} {value}" for name, value in named.items() if value is not None]
    click.echo(f"purged {', '.join(chosen) or 'everything'}")


@main.group()
def keys() -> None:
    """Callers' keys."""


@keys.command()
@click.argument("key_id", metavar="ID")
def new(key_id: str) -> None:
    """Make a key for a caller: the secret to hand out, and the hash for the file.

    The secret is shown once and stored nowhere.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", key_id):
        _fail([f"ID: {key_id!r} must be 1 to 64 letters, digits, dots, dashes or underscores"])
    secret = new_secret(key_id)
    click.echo(f"secret         {secret}")
    click.echo(f"secret_sha256  {digest_of(secret).hex()}")
    click.echo("\nUnder `keys` in the configuration:", err=True)
    entry = f'  - {{id: {key_id}, tenant: TENANT, secret_sha256: "{digest_of(secret).hex()}"}}'
    click.echo(entry, err=True)


def _shared_configuration(file: str | None, *, of_cache: bool = False) -> Loaded:
    """The configuration of gateways whose store (or the cache's) can be asked from here."""
    file = file or config_file_from_environment()
    if file is None:
        _fail(["--config: name the configuration file (or set HEADGATE_CONFIG)"])
    loaded = _load(_read(file), file)
    reachable = of_cache and loaded.settings.cache_store is not None
    if not reachable and loaded.settings.store.url.reveal().startswith("memory:"):
        _fail(["store.url: memory:// lives inside the gateway's process, out of reach from here"])
    return loaded


def _read(file: str) -> str:
    try:
        return read(file)
    except ConfigError as error:
        _fail(error.problems)


def _load(text: str, source: str) -> Loaded:
    try:
        loaded = load(text, source)
    except ConfigError as error:
        _fail(error.problems)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    return loaded


def _greet(loaded: Loaded, secret: str | None) -> None:
    server = loaded.settings.server
    everywhere = server.host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
    base = f"http://{'127.0.0.1' if everywhere else server.host}:{server.port}"
    lines = [f"Headgate {__version__}, configuration {loaded.generation}, on {base}"]
    if secret is not None:
        lines += [
            "",
            f"  key: {secret}",
            "",
            f"  curl {base}/v1/completions -H 'authorization: Bearer {secret}' \\",
            "    -H 'content-type: application/json' \\",
            '    -d \'{"model": "demo", "prompt": "Once upon a time"}\'',
            "",
            "The model `demo` is a simulator: its text means nothing. Your own file: --config FILE.",
        ]
    click.echo("\n".join(lines), err=True)


def _fail(problems: list[str]) -> NoReturn:
    for problem in problems:
        click.echo(problem, err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
