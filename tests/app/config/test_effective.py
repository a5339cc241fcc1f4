"""The configuration as operators see it: where each value comes from, and no secret in it."""

from __future__ import annotations

from typing import Any

import orjson

from app.config.effective import MASKED, effective
from app.config.loading import load

TEXT = """
store: {url: "redis://me:hg-store-secret@redis:6379"}
server: {port: 9000}
providers:
  up: {kind: openai, base_url: "https://up.example/v1", api_key: "${UP_KEY}"}
models:
  demo: {targets: [{provider: up, model: "${UP_MODEL}", price: {input_per_million: 1, output_per_million: 1}}]}
tenants: {acme: {}}
keys: [{id: web, tenant: acme, secret: hg-web-secret-0123456789}]
"""


def shown() -> dict[str, Any]:
    environment = {"UP_KEY": "hg-up-secret", "UP_MODEL": "big-1"}
    return {one.path: one for one in effective(load(TEXT, environment=environment))}


def test_no_secret_is_shown() -> None:
    text = orjson.dumps([value[1] for value in shown().values()]).decode()
    assert "secret" not in text
    assert shown()["providers.up.api_key"].value == MASKED
    assert shown()["keys[0].secret[0]"].value == MASKED


def test_each_value_says_where_it_comes_from() -> None:
    values = shown()
    assert (values["server.port"].value, values["server.port"].line) == (9000, 3)
    assert values["server.workers"].line is None  # its default
    target = values["models.demo.targets[0].model"]
    assert (target.value, target.line, target.variables) == ("big-1", 7, ("UP_MODEL",))


def test_every_value_can_be_sent() -> None:
    assert len(orjson.dumps([tuple(value) for value in shown().values()])) > 1000
