"""GET /admin/v1/audit: who changed what, newest first."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import orjson

from app.core.errors import InvalidRequest
from app.routes.admin.calls import AdminCall, AdminReply, AdminRoute
from app.routes.admin.objects.resource import page_size
from cache.registry.objects import Objects

_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")


class Audit:
    """Reads the stream that every change leaves a record in."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def routes(self) -> list[AdminRoute]:
        return [AdminRoute("GET", "/audit", "audit:read", self.show, ("cursor", "limit"))]

    async def show(self, call: AdminCall) -> AdminReply:
        """Who changed what, newest first."""
        cursor, most = call.query.get("cursor", ""), page_size(call.query.get("limit"))
        if cursor and not _ID.fullmatch(cursor):
            raise InvalidRequest("`cursor` is not the `next_cursor` of an answer.", param="cursor")
        if self._objects.witness is not None:  # who reads the log stands in it
            facts = {
                "actor": call.who.id,
                "address": call.address,
                "request_id": call.request_id,
                "action": "audit.show",
            }
            await self._objects.witness(orjson.dumps(facts), True)
        found = await self._objects.audit(cursor, most)
        records = [(id_, _record(id_, generation, text)) for id_, generation, text in found]
        seen = [record for _, record in records if _sees(call, record)]
        following = records[-1][0] if len(records) == most else None
        return AdminReply({"object": "list", "data": seen, "next_cursor": following})


def _record(id_: str, generation: int, text: bytes) -> dict[str, Any]:
    at = datetime.fromtimestamp(int(id_.partition("-")[0]) / 1000, UTC)
    time = at.isoformat(timespec="milliseconds")
    return {"id": id_, "time": time, "generation": generation, **orjson.loads(text)}


def _sees(call: AdminCall, record: dict[str, Any]) -> bool:
    return call.who.tenants is None or call.who.sees(str(record.get("tenant", "")))
