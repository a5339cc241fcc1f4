"""``headgate rag load NAME FILES``: fill the index of a retrieval from files."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import click

from app.commands.audit import record_act
from app.commands.files import fail, load_text, read_text, required_file
from app.config.sections.retrieval import RedisRetrieval
from app.config.settings import Settings
from app.retrieval.chunk import EVERYONE, Chunk, RetrievalFailure, TextEncoder
from app.retrieval.documents import Audience, BadDocument, files_of, read_chunks
from cache.store.base import CommandRefused, StoreUnavailable

if TYPE_CHECKING:
    from cache.chunks.index import ChunkIndex
    from cache.store.base import Store

BATCH = 64  # chunks that are embedded together
STORE_TIMEOUT = 5.0  # seconds: nobody waits, and a large index takes its time
PROGRESS_SECONDS = 0.5


@click.group()
def rag() -> None:
    """Documents that models answer from."""


@rag.command("load")
@click.argument("name")
@click.argument("files", nargs=-1, required=True)
@click.option("--config", "file", type=click.Path(dir_okay=False), help="The configuration file.")
@click.option("--tenant", help="Only this tenant may see them.")
@click.option("--everyone", is_flag=True, help="Every tenant may see them.")
@click.option("--key", "keys", multiple=True, help="Only this key of the tenant may; repeatable.")
@click.option("--replace", is_flag=True, help="First remove all that the tenant has there.")
def load(
    name: str,
    files: tuple[str, ...],
    file: str | None,
    tenant: str | None,
    everyone: bool,
    keys: tuple[str, ...],
    replace: bool,
) -> None:
    """Cut FILES into chunks, embed them and keep them in the index of the retrieval NAME.

    \b
    .txt, .md and others   cut at paragraphs, about 300 tokens a chunk
    .jsonl                 a chunk a line: {"text": …, "id": …, "source": …, "keys": […]}

    What stands there already with the same text is not embedded again, so a load that was
    interrupted goes on where it ended. A file that became shorter loses the chunks that it lost.
    """
    path = required_file(file)
    settings = load_text(read_text(path), path).settings
    section = settings.retrieval.get(name)
    if not isinstance(section, RedisRetrieval):
        fail(f"NAME: no entry of `kind: redis` in `retrieval`: {name!r}")
    if everyone == (tenant is not None):
        fail("name whose they are: either --tenant NAME or --everyone")
    if tenant is not None and tenant not in settings.tenants:
        fail(f"--tenant: no such entry in `tenants`: {tenant!r}")
    known = {key.id for key in settings.keys}
    for key in keys:
        if key not in known:
            fail(f"--key: no such id in `keys`: {key!r}")
    audience = Audience((tenant or EVERYONE,), keys or (EVERYONE,))
    try:
        paths = files_of(files)
        whose = {"tenant": tenant, "keys": keys or None, "replace": replace or None}
        record_act(settings, "rag.load", name, files=[str(path) for path in paths[:1000]], **whose)
        done = asyncio.run(_load(settings, name, section, paths, audience, replace=replace))
    except (BadDocument, RetrievalFailure) as error:
        fail(str(error))
    except StoreUnavailable as error:
        fail(f"the store cannot be reached: {error}; run the same command again to go on")
    except CommandRefused:
        fail("the store has no vector sets; Redis 8 or newer has")
    click.echo(f"{name}: {done.told()}; {done.total} chunks of {audience.tenants[0]} in the index")


class _Progress:
    """Says on standard error how far it is, now and then."""

    def __init__(self) -> None:
        self.kept = self.known = self.removed = self.total = 0
        self._began = self._said = monotonic()

    def told(self) -> str:
        seconds = monotonic() - self._began
        removed = f", {self.removed} removed" if self.removed else ""
        return f"{self.kept} loaded, {self.known} there already{removed}, {seconds:.1f} s"

    def say(self, path: Path) -> None:
        if monotonic() - self._said >= PROGRESS_SECONDS:
            self._said = monotonic()
            end = "\r" if sys.stderr.isatty() else "\n"
            click.echo(f"{path}: {self.told()}{end}", err=True, nl=False)


class _Loader:
    """Brings files into an index, one after the other."""

    def __init__(self, index: ChunkIndex, encoder: TextEncoder, progress: _Progress) -> None:
        self._index = index
        self._encoder = encoder
        self._progress = progress

    async def file(self, path: Path, audience: Audience) -> None:
        """Bring the chunks of a file into the index. Raises BadDocument and RetrievalFailure."""
        [tenant] = audience.tenants
        chunks = read_chunks(path, audience)
        count = 0
        while batch := list(islice(chunks, BATCH)):
            for whose in dict.fromkeys(chunk.tenant for chunk in batch):
                await self._batch(whose, [chunk for chunk in batch if chunk.tenant == whose])
            count += len(batch)
            self._progress.say(path)
        if path.suffix != ".jsonl":
            before = await self._index.pieces(tenant, path.name)
            gone = [f"{path.name}#{number}" for number in range(count + 1, before + 1)]
            await self._index.forget(tenant, gone)
            self._progress.removed += len(gone)
            await self._index.note_pieces(tenant, path.name, count)

    async def _batch(self, tenant: str, batch: Sequence[Chunk]) -> None:
        from cache.chunks.index import WrongVectors, text_hash  # noqa: PLC0415

        there = await self._index.known(tenant, [chunk.id for chunk in batch])
        new = [one for one, known in zip(batch, there, strict=True) if known != text_hash(one)]
        self._progress.known += len(batch) - len(new)
        if not new:
            return
        embedded = await self._encoder.vectors([chunk.text for chunk in new])
        try:
            await asyncio.gather(
                *(self._index.keep(*pair) for pair in zip(new, embedded.vectors, strict=True))
            )
        except WrongVectors as error:
            raise RetrievalFailure(
                f"{error}; load with the encoder that it was filled with, or anew with --replace"
            ) from None
        self._progress.kept += len(new)


async def _load(
    settings: Settings,
    name: str,
    section: RedisRetrieval,
    paths: Sequence[Path],
    audience: Audience,
    *,
    replace: bool,
) -> _Progress:
    from app.policy.encoders import retrieval_encoder  # noqa: PLC0415 - needs everything
    from app.policy.retrieval import index_of  # noqa: PLC0415
    from app.providers.routing.routes import Router  # noqa: PLC0415
    from cache.store.opening import open_store  # noqa: PLC0415

    progress = _Progress()
    targets = Router(settings)
    url = section.url or settings.store.url
    store: Store = open_store(url.reveal(), STORE_TIMEOUT)
    store.start()
    try:
        encoder = retrieval_encoder(section.encoder, settings, targets.provider)
        index = index_of(name, section, settings, encoder.identity, store)
        if replace:
            await index.clear(audience.tenants[0])
        for path in paths:
            await _Loader(index, encoder, progress).file(path, audience)
        progress.total = await index.count(audience.tenants[0])
    finally:
        await store.aclose()
        await targets.aclose()
    return progress
