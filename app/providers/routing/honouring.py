"""Whether a target can honour a request, told before it is asked.

Where a model has several targets, one that would have to ignore a parameter is left out, as
OpenRouter's `require_parameters` does, so that another one answers.
"""

from __future__ import annotations

from typing import Any

from app.providers.adapters.checking import check_inner
from app.providers.base import UpstreamCall
from app.providers.routing.routes import Route


def check_honoured(route: Route, family: str, request: Any) -> None:
    """Raises InvalidRequest where a target cannot honour a request, as far as it can tell."""
    endpoint = route.endpoints[family]
    asked = request.native() if endpoint.native else request
    check_inner(endpoint.answers, UpstreamCall(family, asked, route.model))
