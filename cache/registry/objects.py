"""The operators' objects in the store: read in pages, by their changes, and changed one at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from cache.store import key_names as names
from cache.store.base import Store, script

KINDS = ("keys", "tenants", "limits", "budgets")
PAGE = 500
MAX_CHANGES = 10_000  # workers that are further behind read everything anew
MAX_AUDIT_RECORDS = 100_000
ANSWERS_KEPT = 86400  # seconds for which a repeated request gets its first answer


class Stored(NamedTuple):
    """One object as it stands: ``revision`` is the generation of its last change, ``document`` is JSON."""

    revision: int
    document: bytes


class State(NamedTuple):
    """``generation`` counts all changes; those up to ``trimmed`` are not in the list any more.

    ``since`` is when the first was made: another moment is another store, or one that lost everything.
    """

    generation: int
    trimmed: int
    since: bytes


class Change(NamedTuple):
    """What a change needs to be made as one step.

    ``expected`` is the revision that the object must have, 0 where it must not be there; an empty
    ``document`` deletes it. ``had`` and ``lost`` are the tenant and the digests of before, ``tenant``
    and ``digests`` those from now on. ``request`` names it for a repetition, ``asked`` is the digest
    of what was asked and ``answer`` what a repetition is told; empty where there is none.
    """

    kind: str
    id: str
    expected: int
    document: bytes
    record: bytes
    tenant: str = ""
    had: str = ""
    digests: Sequence[str] = ()
    lost: Sequence[str] = ()
    request: str = ""
    asked: str = ""
    answer: bytes = b""


class Changed(NamedTuple):
    revision: int


class Stale(NamedTuple):
    """Another revision stands there, 0 for nothing."""

    revision: int


class Taken(NamedTuple):
    """Another object has one of the secrets."""

    id: str


class Repeated(NamedTuple):
    """This request was answered before: what was asked then, the answer, the revision it made."""

    asked: str
    answer: bytes
    revision: int


# Is told of a change before it is made; with False, that it was not made after all. What it raises
# stops the change.
Witness = Callable[[bytes, bool], Awaitable[None]]


class Objects:
    """Every method raises StoreUnavailable.

    ``witness`` gets the record of each change; None where only the store keeps them.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.witness: Witness | None = None
        self._change = script("change_object", on_full_server=True)
        self._note = script("note_act", on_full_server=True)

    async def change(self, change: Change) -> Changed | Stale | Taken | Repeated:
        """Make a change, or say why it was not made."""
        kind = change.kind
        keys = [
            names.objects(kind),
            names.object_ids(kind),
            names.object_ids_by_tenant(kind),
            names.OPERATORS_SECRETS,
            names.OPERATORS_STATE,
            names.OPERATORS_CHANGES,
            names.OPERATORS_AUDIT,
            names.answered(change.request),
        ]
        if self.witness is not None:
            await self.witness(change.record, True)
        lost = [digest for digest in change.lost if digest not in change.digests]
        args = [
            *(names.OPERATORS_CHANNEL, kind, change.id, change.expected, change.document),
            *(change.tenant, change.had, change.record, MAX_AUDIT_RECORDS, MAX_CHANGES),
            *(change.asked, change.answer, ANSWERS_KEPT),
            *(len(lost), *lost, *change.digests),
        ]
        word, *rest = await self._store.run(self._change, keys, args)
        if word == 1:
            return Changed(int(rest[0]))
        if self.witness is not None:
            await self.witness(change.record, False)
        if word == 0:
            return Stale(int(rest[0]))
        if word == -1:
            return Taken(rest[0].decode())
        return Repeated(rest[0].decode(), rest[1], int(rest[2]))

    async def note(
        self, record: bytes, request: str = "", asked: str = "", answer: bytes = b"{}"
    ) -> Changed | Repeated:
        """Record what is done beside objects; its revision names it."""
        if self.witness is not None:
            await self.witness(record, True)
        keys = [names.OPERATORS_STATE, names.OPERATORS_AUDIT, names.answered(request)]
        args = [record, MAX_AUDIT_RECORDS, asked if request else "", answer, ANSWERS_KEPT]
        word, *rest = await self._store.run(self._note, keys, args)
        if word == 1:
            return Changed(int(rest[0]))
        if self.witness is not None:
            await self.witness(record, False)
        return Repeated(rest[0].decode(), rest[1], int(rest[2]))

    async def audit(self, before: str, most: int) -> list[tuple[str, int, bytes]]:
        """Records, newest first, older than the one of this id ('' is from the newest on): id,
        generation, JSON."""
        last = f"({before}" if before else "+"
        found = await self._store.command(
            "XREVRANGE", names.OPERATORS_AUDIT, last, "-", "COUNT", most
        )
        return [_audited(entry) for entry in found]

    async def answered(self, request: str) -> Repeated | None:
        """What a request was answered before; None where it is a new one."""
        found = await self._store.command(
            "HMGET", names.answered(request), "asked", "answer", "revision"
        )
        asked, answer, revision = found
        return Repeated(asked.decode(), answer, int(revision)) if asked is not None else None

    async def state(self) -> State:
        """How far the objects are."""
        fields = ("generation", "trimmed", "since")
        generation, trimmed, since = await self._store.command(
            "HMGET", names.OPERATORS_STATE, *fields
        )
        return State(int(generation or 0), int(float(trimmed or 0)), since or b"")

    async def get(self, kind: str, id: str) -> Stored | None:
        """One object."""
        return stored(await self._store.command("HGET", names.objects(kind), id))

    async def owner(self, digest: bytes) -> str | None:
        """The id of the key that a secret's digest opens."""
        found = await self._store.command("HGET", names.OPERATORS_SECRETS, digest.hex())
        return found.decode() if found is not None else None

    async def page(self, kind: str, after: str, most: int) -> list[tuple[str, Stored]]:
        """Objects whose ids follow ``after``, in the order of their ids' bytes."""
        found = await self._ids(names.object_ids(kind), f"({after}" if after else "-", "+", most)
        return await self._with_documents(kind, found)

    async def page_of_tenant(
        self, kind: str, tenant: str, after: str, most: int
    ) -> list[tuple[str, Stored]]:
        """The same of one tenant."""
        first = f"({tenant}/{after}" if after else f"[{tenant}/"
        # 0 is the character after the slash.
        found = await self._ids(names.object_ids_by_tenant(kind), first, f"({tenant}0", most)
        return await self._with_documents(kind, [one.partition("/")[2] for one in found])

    async def _ids(self, key: str, first: str, last: str, most: int) -> list[str]:
        found = await self._store.command("ZRANGEBYLEX", key, first, last, "LIMIT", 0, most)
        return [one.decode() for one in found]

    async def changed_since(
        self, generation: int
    ) -> tuple[int, list[tuple[str, str, Stored | None]]]:
        """Up to a page of objects changed later, oldest first, and the generation that they lead to."""
        found = await self._store.command(
            *("ZRANGEBYSCORE", names.OPERATORS_CHANGES, f"({generation}", "+inf"),
            *("WITHSCORES", "LIMIT", 0, PAGE),
        )  # fmt: skip
        pairs = _scored(found)
        if not pairs:
            return generation, []
        places = [member.decode().partition(":")[::2] for member, _ in pairs]
        documents: dict[tuple[str, str], Stored | None] = {}
        for kind in KINDS:
            ids = [name for one, name in places if one == kind]
            if ids:
                read = await self._store.command("HMGET", names.objects(kind), *ids)
                documents |= {
                    (kind, name): stored(one) for name, one in zip(ids, read, strict=True)
                }
        changes = [(kind, name, documents[kind, name]) for kind, name in places if kind in KINDS]
        return int(pairs[-1][1]), changes

    async def everything(self, kind: str) -> AsyncIterator[list[tuple[str, Stored]]]:
        """Every object of a kind, in pages, in no order; one that changes meanwhile may come twice."""
        cursor = b"0"
        while True:
            cursor, found = await self._store.command(
                "HSCAN", names.objects(kind), cursor, "COUNT", PAGE
            )
            items = found.items() if isinstance(found, dict) else _pairs(found)
            yield [
                (name.decode(), one) for name, text in items if (one := stored(text)) is not None
            ]
            if int(cursor) == 0:
                return

    async def _with_documents(self, kind: str, ids: list[str]) -> list[tuple[str, Stored]]:
        if not ids:
            return []
        read = await self._store.command("HMGET", names.objects(kind), *ids)
        return [
            (name, one)
            for name, text in zip(ids, read, strict=True)
            if (one := stored(text)) is not None
        ]


def stored(text: bytes | None) -> Stored | None:
    """An object as the store has it: its revision, a space, its document."""
    if text is None:
        return None
    revision, _, document = text.partition(b" ")
    return Stored(int(revision), document)


def _audited(entry: Sequence[Any]) -> tuple[str, int, bytes]:
    fields = entry[1]
    named = fields if isinstance(fields, dict) else dict(_pairs(fields))
    return entry[0].decode(), int(named[b"generation"]), named[b"record"]


def _pairs(flat: Sequence[Any]) -> list[tuple[Any, Any]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _scored(found: Sequence[Any]) -> list[tuple[bytes, float]]:
    """Members with scores: RESP3 and fakeredis answer pairs, RESP2 both in turn."""
    if found and isinstance(found[0], list | tuple):
        return [(member, float(score)) for member, score in found]
    return [(member, float(score)) for member, score in _pairs(found)]
