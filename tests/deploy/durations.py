"""Times of a configuration beside those of whoever ends its process."""

from __future__ import annotations

from app.config.loading import load
from app.config.settings import Settings


def settings_of(text: str, **environment: str) -> Settings:
    return load(text, "deploy", environment).settings


def stopping(settings: Settings) -> float:
    """The longest that Headgate takes to stop, in seconds."""
    return float(settings.server.shutdown_delay) + float(settings.server.shutdown_grace)
