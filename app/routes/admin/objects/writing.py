"""How an object is changed: nobody's change is lost, a repetition changes nothing, all of it is recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from app.config.decoding import Fault, path_text
from app.core.errors import Conflict, InvalidRequest, PreconditionFailed, Problem, Unprocessable
from app.routes.admin.calls import AdminCall, AdminReply
from app.routes.admin.objects.conditions import (
    asked_by,
    check_revision,
    names_a_revision,
    request_id_of,
)
from app.routes.admin.objects.directory import Directory, missing, sees
from app.routes.admin.objects.records import Kind, Record, encoded, etag, record_of, shown
from cache.registry.objects import Change, Changed, Repeated, Stale, Stored, Taken

TRIES = 8  # against other operators who change the same object meanwhile


class Draft(NamedTuple):
    """What an object should become; a ``record`` of None deletes it.

    ``action`` names it in the audit log, ``noted`` goes there too. ``once`` is shown in the first
    answer only, such as a secret.
    """

    record: Record | None
    action: str
    status: int = 200
    once: Mapping[str, Any] = MappingProxyType({})
    warnings: Sequence[str] = ()
    noted: Mapping[str, Any] = MappingProxyType({})


Make = Callable[[Record | None], Awaitable[Draft]]


class Writer:
    """Makes changes of one kind. Every method raises StoreUnavailable."""

    def __init__(self, kind: Kind, directory: Directory) -> None:
        self._kind = kind
        self._directory = directory

    async def write(self, call: AdminCall, name: str, make: Make) -> AdminReply:
        """Change an object to what ``make`` says, given what it is, None where there is none."""
        directory, kind = self._directory, self._kind
        request = request_id_of(call)
        asked = (
            asked_by(call, f"{kind.name}/{name}/{sorted(call.names.items())}") if request else ""
        )
        known = await directory.registry.objects.answered(request) if request else None
        if known is not None:
            return _again(kind, name, known, asked)
        await directory.registry.catch_up()
        if call.query.get("source") != "api":
            directory.refuse_filed(kind, name)
        for _ in range(TRIES):
            stored = await directory.registry.objects.get(kind.name, name)
            if stored is not None and not sees(kind, name, stored, call.who):
                raise missing(kind, name) if "id" in call.names else already_there(kind, name)
            check_revision(call, stored.revision if stored is not None else 0)
            draft = await make(record_of(stored) if stored is not None else None)
            change = self._change(call, name, stored, draft, request, asked)
            done = await directory.registry.objects.change(change)
            if isinstance(done, Changed):
                await directory.registry.catch_up()
                return self._answer(name, Stored(done.revision, change.document), draft)
            if isinstance(done, Repeated):
                return _again(kind, name, done, asked)
            if isinstance(done, Taken):
                raise Conflict(
                    f"The key {done.id!r} has this secret already.",
                    code="secret_taken",
                    param="secret_sha256",
                )
            if names_a_revision(call):
                raise _overtaken(done)
        raise Conflict(f"Others change the {kind.one} {name!r} all the time; try again.")

    def _change(
        self,
        call: AdminCall,
        name: str,
        stored: Stored | None,
        draft: Draft,
        request: str,
        asked: str,
    ) -> Change:
        before = record_of(stored) if stored is not None else None
        after = draft.record
        document = encoded(after) if after is not None else b""
        shown_again = ""
        if request:
            revisionless = self._document(name, Stored(0, document), draft)
            shown_again = orjson.dumps([draft.status, revisionless, sorted(draft.once)]).decode()
        return Change(
            kind=self._kind.name,
            id=name,
            expected=stored.revision if stored is not None else 0,
            document=document,
            record=audit_record(call, self._kind, name, draft, before),
            tenant=after.tenant if after is not None else "",
            had=before.tenant if before is not None else "",
            digests=after.digests if after is not None else [],
            lost=before.digests if before is not None else [],
            request=request,
            asked=asked,
            answer=shown_again.encode(),
        )

    def _document(self, name: str, stored: Stored, draft: Draft) -> dict[str, Any]:
        if draft.record is None:
            return {"object": self._kind.one, "id": name, "deleted": True}
        shadowed = self._directory.filed(self._kind, name) is not None
        document = shown(self._kind, name, stored, self._directory.now(), shadowed=shadowed)
        return document | ({"warnings": list(draft.warnings)} if draft.warnings else {})

    def _answer(self, name: str, stored: Stored, draft: Draft) -> AdminReply:
        document = self._document(name, stored, draft) | dict(draft.once)
        headers = [(b"etag", etag(stored.revision))] if draft.record is not None else []
        return AdminReply(document, draft.status, headers)


def already_there(kind: Kind, name: str) -> Conflict:
    return Conflict(
        f"There is a {kind.one} {name!r} already; PUT or PATCH changes it.",
        code="already_exists",
        param="id",
    )


def _again(kind: Kind, name: str, known: Repeated, asked: str) -> AdminReply:
    """The first answer without what is shown once. Raises Unprocessable for another request."""
    if known.asked != asked:
        raise Unprocessable(
            "This `Idempotency-Key` was sent with another request within the last day.",
            param="Idempotency-Key",
        )
    status, document, once = orjson.loads(known.answer)
    if "revision" in document:
        document["revision"] = known.revision
    if once:
        document |= dict.fromkeys(once)
        document["message"] = (
            "The secret was in the first answer only. "
            f"`POST /admin/v1/{kind.name}/{name}/rotate` makes a new one."
        )
    headers = [(b"etag", etag(known.revision)), (b"idempotency-replayed", b"true")]
    return AdminReply(document, status, headers)


def _overtaken(done: Stale) -> PreconditionFailed:
    return PreconditionFailed(
        f"Somebody else changed it meanwhile, to revision {done.revision}; read it again.",
        headers=[(b"etag", etag(done.revision))] if done.revision else None,
    )


def audit_record(
    call: AdminCall, kind: Kind, name: str, draft: Draft, before: Record | None
) -> bytes:
    """Who did what, from where, and what it was before; no secret and no digest of one."""
    facts: dict[str, Any] = {
        "actor": call.who.id,
        "address": call.address,
        "request_id": call.request_id,
        "action": f"{kind.one}.{draft.action}",
        "kind": kind.name,
        "object_id": name,
        **draft.noted,
    }
    after = draft.record
    tenant = (after or before).tenant if (after or before) is not None else ""  # type: ignore[union-attr]
    if tenant:
        facts["tenant"] = tenant
    changes = _changes(before.spec if before else {}, after.spec if after else {})
    if changes:
        facts["changes"] = changes
    return orjson.dumps(facts)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The members that differ, each as it was and as it is."""
    names = [name for name in {**before, **after} if name != "secret_sha256"]
    return {
        name: [before.get(name), after.get(name)]
        for name in names
        if before.get(name) != after.get(name)
    }


def spec_in(call: AdminCall, *, needed: bool = False) -> dict[str, Any]:
    """The JSON object in a request's body; without a body an empty one, unless it is ``needed``.

    Raises InvalidRequest.
    """
    if needed and not call.body.strip():
        raise InvalidRequest("The body is missing; send a JSON object.", code="invalid_json")
    try:
        document = orjson.loads(call.body) if call.body.strip() else {}
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not JSON: {error}.", code="invalid_json") from None
    if not isinstance(document, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
    return document


def raise_faults(faults: Sequence[Fault]) -> None:
    """Raises InvalidRequest naming every fault."""
    if faults:
        problems = [
            Problem(path_text(fault.path), f"`{path_text(fault.path)}`: {fault.message}.")
            for fault in faults
        ]
        raise InvalidRequest.of(problems)


def merged(spec: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON merge patch: null takes a member away. Source: RFC 7396."""
    result = dict(spec)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            inner = result.get(name)
            result[name] = merged(inner if isinstance(inner, Mapping) else {}, value)
        else:
            result[name] = value
    return result
