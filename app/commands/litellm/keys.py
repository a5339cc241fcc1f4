"""The objects of LiteLLM's GET /key/list as keys, tenants, limits and budgets.

A key keeps its secret: LiteLLM stores its SHA-256, and so do we.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from app.commands.litellm.notes import Notes

TENANT = "default"
CAPABILITIES = ["completions", "chat", "embeddings"]
WINDOWS = {
    **dict.fromkeys(("1h", "60m", "3600s"), "hour"),
    **dict.fromkeys(("1d", "24h", "daily"), "day"),
    **dict.fromkeys(("7d", "1w", "weekly"), "week"),
    **dict.fromkeys(("30d", "31d", "1mo", "monthly"), "month"),
}
LIMITS = {
    "rpm_limit": "requests_per_minute",
    "tpm_limit": "tokens_per_minute",
    "max_parallel_requests": "concurrent",
}
_DIGEST = re.compile(r"[0-9a-f]{64}").fullmatch
_ID = re.compile(r"[^A-Za-z0-9._-]+")


class Keys:
    """The sections ``keys``, ``tenants``, ``limits`` and ``budgets``."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self.keys: list[dict[str, Any]] = []
        self.tenants: dict[str, dict[str, Any]] = {}
        self.limits: dict[str, dict[str, Any]] = {}
        self.budgets: dict[str, dict[str, Any]] = {}

    def add(self, place: str, entry: Any) -> None:
        """One key."""
        digest = entry.get("token") if isinstance(entry, Mapping) else None
        if not isinstance(digest, str) or not _DIGEST(digest):
            self._notes.left(place, "has no `token`: ask with return_full_object=true")
            return
        name = self._id(str(entry.get("key_alias") or f"key-{digest[:8]}"))
        tenant = _ID.sub("-", str(entry.get("team_alias") or entry.get("team_id") or TENANT))
        self.tenants.setdefault(tenant, {})
        made: dict[str, Any] = {
            "id": name,
            "tenant": tenant,
            "secret_sha256": digest,
            "capabilities": CAPABILITIES,
        }
        models = [str(name) for name in entry.get("models") or ()]
        if models and "all-proxy-models" not in models:
            made["models"] = models
        limits = {ours: entry[theirs] for theirs, ours in LIMITS.items() if entry.get(theirs)}
        if limits:
            self.limits[name] = limits
            made["limits"] = name
        self._budget(place, name, entry, made)
        if entry.get("expires"):
            made["expires"] = str(entry["expires"])
        if entry.get("blocked"):
            self._notes.left(f"{place} ({name})", "is blocked, and was left out")
            return
        self.keys.append(made)

    def _budget(
        self, place: str, name: str, entry: Mapping[str, Any], made: dict[str, Any]
    ) -> None:
        if entry.get("max_budget") is None:
            return
        window = WINDOWS.get(str(entry.get("budget_duration")))
        if window is None:
            why = (
                f"a budget of ${entry['max_budget']} per {entry.get('budget_duration') or 'ever'}: "
                "here a budget is per hour, day, week or month"
            )
            self._notes.left(f"{place} ({name}).max_budget", why)
            return
        self.budgets[name] = {"usd": entry["max_budget"], "per": window}
        made["budget"] = name
        if entry.get("spend"):
            self._notes.left(f"{place} ({name}).spend", "begins at nothing here")

    def _id(self, alias: str) -> str:
        name = _ID.sub("-", alias).strip("-._")[:56] or "key"
        taken = {key["id"] for key in self.keys}
        return next(
            one
            for one in (name, *(f"{name}-{n}" for n in range(2, len(taken) + 3)))
            if one not in taken
        )
