"""What an editor knows of the file: a sentence for every setting, and values as people write them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from app.config.loading import json_schema
from app.config.values.quantities import Duration, Size

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads(json.dumps(json_schema()))


def settings(part: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for variant in part.get("anyOf", ()):
        yield from settings(variant, path)
    for below in ("additionalProperties", "items"):
        if isinstance(part.get(below), dict):
            yield from settings(part[below], f"{path}[]")
    for name, setting in part.get("properties", {}).items():
        yield f"{path}.{name}", setting
        yield from settings(setting, f"{path}.{name}")


def test_every_setting_has_a_sentence_to_hover_over() -> None:
    found = list(settings(SCHEMA))
    assert len(found) > 300
    assert [path for path, setting in found if not setting.get("description")] == []


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (".server.body_timeout", "A body that takes longer is refused with 408. Default: `30s`."),
        (".keys[].tenant", "A name from `tenants`."),
        (".tenants[].models[].budget", "A budget for one model within the tenant. Default: none."),
        (".server.management", "A group of settings: port, host."),
    ],
)
def test_a_setting_says_what_the_page_says(path: str, says: str) -> None:
    [said] = {setting["description"] for name, setting in settings(SCHEMA) if name == path}
    assert said == says


def test_a_quantity_shows_its_default_as_people_write_it() -> None:
    server = SCHEMA["properties"]["server"]["properties"]
    assert (server["body_timeout"]["default"], server["max_body_bytes"]["default"]) == (
        "30s",
        "1MiB",
    )


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        *((Duration, text) for text in ("50ms", "30s", "1h30m", "7d", "1.5s", "30", 30, 0.5)),
        *((Duration, text) for text in ("", "s", "30 s", "1w", "-1s", "5 minutes", True, None)),
        *((Size, text) for text in ("64KiB", "1MiB", "10MB", "1.5GiB", "512", "512b", 512, "1 MB")),
        *((Size, text) for text in ("", "KiB", "1KiBs", "-1", "1k", "1TB", True, None)),
    ],
)
def test_the_schema_takes_a_quantity_where_the_loader_does(kind: Any, written: Any) -> None:
    name = "body_timeout" if kind is Duration else "max_body_bytes"
    judge = jsonschema_rs.Draft202012Validator(SCHEMA["properties"]["server"]["properties"][name])
    try:
        kind.parse(written)
        taken = True
    except ValueError:
        taken = False
    assert judge.is_valid(written) == taken


FILES = sorted(file.name for file in (ROOT / "deploy").glob("*.example.yaml"))


@pytest.mark.parametrize("name", FILES)
def test_an_editor_finds_nothing_wrong_in_the_examples(name: str) -> None:
    judge = jsonschema_rs.Draft202012Validator(SCHEMA)
    plain = yaml.safe_load((ROOT / "deploy" / name).read_text())
    assert plain
    assert [error.message for error in judge.iter_errors(_without_dates(plain))] == []


def _without_dates(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_dates(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_dates(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


@pytest.mark.parametrize("port", ["${PORT}", "${PORT:-8080}", 8080])
def test_a_number_may_stand_in_the_environment(port: Any) -> None:
    judge = jsonschema_rs.Draft202012Validator(SCHEMA)
    assert judge.is_valid({"server": {"port": port}})
    assert not judge.is_valid({"server": {"port": "soon"}})
