"""Every kind of provider: whose settings make which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.config.settings import OpenAIProvider as OpenAISettings
from app.config.settings import Settings
from app.config.settings import SimulatorProvider as SimulatorSettings
from app.providers.base import Provider
from app.providers.openai import OpenAIProvider
from app.providers.simulator import SimulatorProvider

KINDS: Mapping[type, Callable[[str, Any], Provider]] = {
    OpenAISettings: OpenAIProvider,
    SimulatorSettings: SimulatorProvider,
}


def make_providers(settings: Settings) -> dict[str, Provider]:
    """Every provider of a configuration, by its name."""
    return {name: KINDS[type(part)](name, part) for name, part in settings.providers.items()}
