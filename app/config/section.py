"""What every section of the file is."""

from __future__ import annotations

from msgspec import Struct


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A frozen section; a setting that it does not have is a mistake."""
