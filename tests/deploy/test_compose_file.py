"""deploy/compose.yaml: its schema, its grace periods, who can be reached and who is let in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from app.config.loading import ConfigError
from app.config.values.quantities import Duration
from tests.deploy.durations import settings_of, stopping

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
SCHEMA = json.loads((Path(__file__).parent / "compose-spec.json").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
REPLICAS = sorted(name for name in SERVICES if name.startswith("headgate-"))
CONFIGURATION = (DEPLOY / "compose" / "gateway.yaml").read_text()
GIVEN = {"HEADGATE_STORE": "redis://redis:6379", "HEADGATE_KEY_SHA256": "a1" * 32}


def errors(document: Any) -> list[str]:
    found = jsonschema.Draft202012Validator(SCHEMA).iter_errors(document)
    return [f"{error.json_path}: {error.message}" for error in found]


def test_it_follows_the_specification() -> None:
    assert errors(COMPOSE) == []


def test_the_schema_refuses_a_wrong_word() -> None:
    wrong = {**COMPOSE, "services": {**SERVICES, "redis": {**SERVICES["redis"], "restrt": "no"}}}
    assert any("restrt" in error for error in errors(wrong))


def test_three_replicas_are_alike_and_behind_the_balancer() -> None:
    assert len(REPLICAS) == 3
    assert all(SERVICES[name] == SERVICES[REPLICAS[0]] for name in REPLICAS)
    behind = SERVICES["haproxy"]["environment"].values()
    assert {f"{name}:8080" for name in REPLICAS} < set(behind)


def test_nobody_is_killed_while_a_stream_may_still_run() -> None:
    longest = stopping(settings_of(CONFIGURATION, **GIVEN))
    for name in (*REPLICAS, "haproxy"):
        assert Duration.parse(SERVICES[name]["stop_grace_period"]) > longest


def test_a_stream_of_a_provider_fits_into_the_grace() -> None:
    settings = settings_of(CONFIGURATION, **GIVEN)
    totals = [p.timeouts.total for p in settings.providers.values() if hasattr(p, "timeouts")]
    assert totals
    assert all(settings.server.shutdown_grace >= total for total in totals)


def test_only_the_balancer_and_grafana_are_published_and_only_to_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"haproxy", "grafana"}
    assert all(":-127.0.0.1:" in port for ports in published.values() for port in ports)


@pytest.mark.parametrize("name", [*REPLICAS, "haproxy"])
def test_what_callers_reach_may_do_nothing_else(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


def test_the_store_and_the_metrics_are_on_the_inside_only() -> None:
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert SERVICES["redis"]["networks"] == SERVICES["prometheus"]["networks"] == ["inside"]


def test_nothing_that_counts_is_evicted_or_forgotten() -> None:
    command = SERVICES["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"


def test_what_is_mounted_is_there() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
    files = {mount.partition(":")[0] for mount in mounts if mount.startswith("./")}
    assert "./haproxy.cfg" in files
    assert [file for file in files if not (DEPLOY / file).exists()] == []


def test_the_configuration_is_right_and_lets_nobody_in_as_it_stands() -> None:
    assert settings_of(CONFIGURATION, **GIVEN).keys[0].id == "me"
    with pytest.raises(ConfigError, match="HEADGATE_KEY_SHA256"):
        settings_of(CONFIGURATION, HEADGATE_STORE="redis://redis:6379")
    with pytest.raises(ConfigError, match="hexadecimal"):
        settings_of(CONFIGURATION, **{**GIVEN, "HEADGATE_KEY_SHA256": ""})
