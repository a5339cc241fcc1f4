"""Where a container asks for its AWS credentials, as the platform tells it (ECS, EKS).

Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_ECS = "http://169.254.170.2"


class ContainerCredentials(NamedTuple):
    """An address, and the token that it asks for; empty where it asks for none."""

    url: str
    token: str


def container_credentials(
    environment: Mapping[str, str] | None = None,
) -> ContainerCredentials | None:
    """What the platform says; None outside a container that it manages."""
    variables = os.environ if environment is None else environment
    relative = variables.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    url = _ECS + relative if relative else variables.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")
    if not url:
        return None
    file = variables.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
    token = Path(file).read_text("utf-8").strip() if file else ""
    return ContainerCredentials(
        url, token or variables.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
    )
