"""What an operator does to a running gateway: it starts, changes its configuration, stops."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec

from app.config.loading import Loaded
from app.config.settings import Settings
from app.observability.audit.acts import NotRecorded, this_user
from app.observability.audit.opening import open_acts

MOST_KEYS = 1_000  # named one by one
_SIGNAL = {"signal": "SIGHUP"}


class Lifecycle:
    """Writes down the main process's acts; nothing where there is no audit log."""

    def __init__(self, loaded: Loaded) -> None:
        """Raises NotRecorded where the log cannot be written: then the gateway must not start."""
        self._loaded = loaded
        settings = loaded.settings.audit
        self._acts = open_acts(settings) if settings is not None else None
        self._record("start", this_user(), after=loaded.generation)

    def reload(self, loaded: Loaded) -> None:
        """Raises NotRecorded: then the new configuration must not be used."""
        before = self._loaded
        changes = changes_of(before.settings, loaded.settings)
        self._record(
            "reload", _SIGNAL, before=before.generation, after=loaded.generation, **changes
        )
        self._loaded = loaded

    def reload_refused(self, problems: int) -> None:
        """A new configuration was bad, so the old one stays."""
        with suppress(NotRecorded):  # nothing is done
            generation = self._loaded.generation
            self._record("reload_refused", _SIGNAL, before=generation, problems=problems)

    def stop(self) -> None:
        """The gateway ends, whether or not that can be written down."""
        with suppress(NotRecorded):
            self._record("stop", this_user(), before=self._loaded.generation)

    def _record(self, act: str, actor: dict[str, str], **facts: Any) -> None:
        if self._acts is not None:
            self._acts.record(act, actor, **facts)


def changes_of(before: Settings, after: Settings) -> dict[str, Any]:
    """Which sections differ, and which keys came and went, by their ids."""
    names = [field.name for field in msgspec.structs.fields(Settings)]
    old, new = {key.id for key in before.keys}, {key.id for key in after.keys}
    return {
        "sections": [name for name in names if getattr(before, name) != getattr(after, name)],
        "keys_added": sorted(new - old)[:MOST_KEYS] or None,
        "keys_removed": sorted(old - new)[:MOST_KEYS] or None,
    }
