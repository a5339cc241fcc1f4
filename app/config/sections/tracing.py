"""The settings of traces."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from app.config.providers import Rate
from app.config.section import Section
from app.config.values.otlp_endpoint import OtlpEndpoint
from app.config.values.quantities import Secret


class Tracing(Section, frozen=True):
    endpoint: OtlpEndpoint
    headers: dict[str, Secret] = field(default_factory=dict)
    sample: Rate = 0.1
    service_name: Annotated[str, Meta(min_length=1, max_length=255)] = "headgate"
