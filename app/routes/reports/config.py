"""GET /admin/v1/config: the configuration at work, each value with its source."""

from __future__ import annotations

from typing import Any

from app.config.effective import Value, effective
from app.config.loading import Loaded
from app.routes.admin.calls import AdminCall, AdminReply, AdminRoute
from app.routes.reports.activity import of_all


class ConfigReport:
    """Shows one configuration; its values are worked out when they are first asked for."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._document: dict[str, Any] | None = None

    def routes(self) -> list[AdminRoute]:
        return [AdminRoute("GET", "/config", "config:read", self.config)]

    async def config(self, call: AdminCall) -> AdminReply:
        """Secrets are masked, digests of secrets too."""
        of_all(call)
        if self._document is None:
            self._document = {
                "object": "config",
                "generation": self._loaded.generation,
                "warnings": list(self._loaded.warnings),
                "values": [_row(value) for value in effective(self._loaded)],
            }
        return AdminReply(self._document)


def _row(value: Value) -> dict[str, Any]:
    """``source`` is default, file, or environment where the file names variables for it."""
    row: dict[str, Any] = {"path": value.path, "value": value.value, "source": "default"}
    if value.line is not None:
        row |= {"source": "file", "line": value.line}
    if value.variables:
        row |= {"source": "environment", "variables": list(value.variables)}
    return row
