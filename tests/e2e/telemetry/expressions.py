"""The expressions that we ship: those of the dashboard, and those of the alerts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
SCRAPES = ROOT / "deploy" / "prometheus" / "prometheus.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "headgate.json"

_THRESHOLD = re.compile(r"^(?P<value>.*\S) (?:>|==) [0-9.]+$", re.DOTALL)
_VARIABLES = {"$__rate_interval": "1m", "$instance": ".*", "$model": ".*"}


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def alerting() -> dict[str, str]:
    """What each alert looks at, without its threshold."""
    found = {}
    for rule in rules():
        match = _THRESHOLD.match(rule["expr"])
        assert match is not None, rule["expr"]
        found[rule["alert"]] = match["value"]
    return found


def dashboard() -> dict[str, str]:
    """Every expression of the dashboard by its panel and letter, with the variables' values."""
    document = json.loads(DASHBOARD.read_text("utf-8"))
    found = {}
    for panel in document["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for name, value in _VARIABLES.items():
                expression = expression.replace(name, value)
            assert "$" not in expression, expression
            found[f"{panel['title']} {target['refId']}"] = expression
    return found


def metrics_in(expression: str) -> set[str]:
    """The metrics of ours that an expression names, as the pages have them."""
    names = re.findall(
        r"\b(?:headgate|gen_ai_server|gen_ai_client)_[a-z_]+(?=[\s({\[)<>=/+*-]|$)", expression
    )
    return set(names)
