"""What the dashboard and the alert rules ask Prometheus for."""

from __future__ import annotations

import json
import re
from pathlib import Path

from scripts.check_deploy import load

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "orchestrator.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"


def expressions() -> list[str]:
    """Return every expression of panels and rules."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    rules = [rule for group in load(ALERTS)["groups"] for rule in group["rules"]]
    return [target["expr"] for panel in panels for target in panel["targets"]] + [rule["expr"] for rule in rules]


def metric_names() -> set[str]:
    """Return the metrics that the expressions read."""
    return {
        name for one in expressions() for name in re.findall(r"\b(?:orchestrator|temporal|up)(?:_\w+)?(?=[{\[)])", one)
    }


def label_pairs() -> set[tuple[str, str]]:
    """Return each metric with each label that an expression picks from it or sums it by."""
    found: set[tuple[str, str]] = set()
    for one in expressions():
        for name, picked in re.findall(r"\b((?:orchestrator|temporal)_\w+)\{([^}]*)\}", one):
            found |= {(name, label) for label in re.findall(r"(\w+)\s*[=!]", picked)}
        for labels, rest in re.findall(r"by \(([^)]*)\) (.*)", one):
            names = re.findall(r"\b((?:orchestrator|temporal)_\w+)", rest)
            found |= {(names[0], label.strip()) for label in labels.split(",") if names}
    return found
