"""Profiles of hypothesis: ``quick`` is what ``make check`` runs with, for an answer within a minute."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("quick", max_examples=20)
