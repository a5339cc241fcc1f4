"""What a live gateway tells Prometheus, and that every expression that we ship is answered by it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from app.observability.metrics.families import FAMILIES, SPANS
from tests.e2e.telemetry.conftest import Scraped
from tests.e2e.telemetry.expressions import (
    ALERTS,
    SCRAPES,
    alerting,
    dashboard,
    metrics_in,
    rules,
)
from tests.harness.credentials import KEYS
from tests.harness.metrics import Series
from tests.harness.prometheus import Prometheus, program
from tests.harness.waiting import eventually

RULE_TESTS = Path(__file__).with_name("alerts_test.yml")
# What is there only when it has happened; these did not happen here.
RARE = {SPANS.name}


def total(series: Series, name: str, **labels: str) -> float:
    wanted = set(labels.items())
    return sum(value for (n, has), value in series.items() if n == name and wanted <= has)


def names(series: Series) -> set[str]:
    return {name for name, _ in series}


@pytest.fixture(scope="module")
def prometheus(scraped: Scraped, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has scraped the gateway a few times."""
    jobs = {
        "headgate": ("/metrics", scraped.port),
        "headgate-shared": ("/metrics/shared", scraped.port),
    }
    with Prometheus(jobs, tmp_path_factory.mktemp("prometheus")) as running:
        for job in jobs:
            up = f'sum(sum_over_time(up{{job="{job}"}}[1m])) >= 3'
            eventually(partial(running.answers, up), within=30)
        yield running


def test_the_page_of_a_replica_adds_its_workers_up(scraped: Scraped) -> None:
    series = scraped.page("/metrics")
    assert total(series, "headgate_replica_workers_ready") == 2
    house = {"route": "/v1/completions", "model": "house", "status": "200"}
    assert total(series, "headgate_requests_total", **house) == 10
    assert total(series, "headgate_requests_total", model="other", code="model_not_found") == 4
    assert total(series, "headgate_requests_total", model="down") == 6
    assert total(series, "headgate_limit_refusals_total", reason="rate_limit_exceeded") == 1
    upstream = {"gen_ai_request_model": "house", "gen_ai_token_type": "output"}
    assert total(series, "gen_ai_client_token_usage_count", **upstream) == 6
    assert total(series, "headgate_cache_total", result="hit", layer="exact", model="house") == 4
    assert total(series, "headgate_upstream_requests_total", target="main/native") == 6
    tokens = {"tenant": "acme", "key": "all", "model": "house", "type": "input"}
    assert total(series, "headgate_tokens_total", **tokens) > 0
    assert total(series, "headgate_saved_usd_total", tenant="acme", key="all") > 0


def test_the_pages_have_every_metric_that_the_documentation_names(scraped: Scraped) -> None:
    given = names(scraped.page("/metrics"))
    for family in FAMILIES.values():
        parts = ("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",)
        if family.name not in RARE:
            assert {family.name + part for part in parts} <= given, family.name


def test_no_text_of_a_caller_and_no_secret_is_on_a_page(scraped: Scraped) -> None:
    for path in ("/metrics", "/metrics/shared"):
        page = repr(scraped.page(path))
        assert not [secret for secret in (*KEYS.values(), "junk-", "forbidden") if secret in page]


def test_every_panel_of_the_dashboard_is_answered(prometheus: Prometheus) -> None:
    empty = [name for name, said in dashboard().items() if not prometheus.ask(said)]
    assert empty == []


def test_every_alert_looks_at_something_that_is_there(
    scraped: Scraped, prometheus: Prometheus
) -> None:
    empty = [name for name, said in alerting().items() if not prometheus.ask(said)]
    assert empty == []
    given = names(scraped.page("/metrics")) | names(scraped.page("/metrics/shared"))
    for rule in rules():
        assert metrics_in(rule["expr"]) <= given
        prometheus.ask(rule["expr"])


def test_promtool_takes_the_files_that_we_ship() -> None:
    for what, file in (("rules", ALERTS), ("config", SCRAPES)):
        command = [str(program("promtool")), "check", what, str(file)]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_where_it_should_and_not_elsewhere() -> None:
    cases = yaml.safe_load(RULE_TESTS.read_text("utf-8"))
    fires = {
        case["alertname"]
        for one in cases["tests"]
        for case in one["alert_rule_test"]
        if case.get("exp_alerts")
    }
    silent = {
        case["alertname"]
        for one in cases["tests"]
        for case in one["alert_rule_test"]
        if not case.get("exp_alerts")
    }
    assert fires == silent == {rule["alert"] for rule in rules()}
    done = subprocess.run(
        [program("promtool"), "test", "rules", RULE_TESTS], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_section_that_says_what_to_do() -> None:
    page = (ALERTS.parents[2] / "docs" / "alerts.md").read_text("utf-8")
    headings = {line[3:] for line in page.splitlines() if line.startswith("## ")}
    assert headings == {rule["alert"] for rule in rules()}
    for rule in rules():
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{rule['alert'].lower()}"
