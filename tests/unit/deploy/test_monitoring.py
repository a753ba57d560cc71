"""The dashboard and the alert rules are whole, and the example environment names settings that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

from orchestrator.settings import Settings
from scripts.check_deploy import COMPOSE, load
from tests.support.monitoring import ALERTS, DASHBOARD, expressions, metric_names

ROOT = Path(__file__).parents[3]


def test_every_panel_has_an_expression_and_a_place_of_its_own() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert all(target["expr"] for target in panel["targets"])


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    rules = load(ALERTS)["groups"][0]["rules"]
    assert len(rules) >= 6
    for rule in rules:
        assert rule["for"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "action"}


def test_expressions_name_metrics() -> None:
    found = metric_names()
    assert len(found) > 10
    assert {name.partition("_")[0] for name in found} == {"orchestrator", "temporal", "up"}
    assert len(expressions()) > 20


def test_the_operations_page_lists_every_metric_of_ours_that_they_use() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in metric_names() if name.startswith("orchestrator_")}
    assert [name for name in sorted(ours) if f"`{name}`" not in page] == []


def test_the_operations_page_lists_every_metric_of_ours_that_there_is() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    source = "".join((ROOT / place).read_text() for place in ("api/metrics.py", "orchestrator/telemetry/metrics.py"))
    made = set(re.findall(r'"(orchestrator_[a-z_]+)"', source))
    assert len(made) > 10
    assert [name for name in sorted(made) if f"`{name}" not in page] == []


def test_scraped_jobs_are_those_that_alerts_and_panels_name() -> None:
    scraped = {job["job_name"] for job in load(ALERTS.with_name("prometheus.yml"))["scrape_configs"]}
    named = {name for expression in expressions() for name in re.findall(r'job="([^"]+)"', expression)}
    assert named == scraped


def test_the_example_environment_names_settings_and_what_compose_takes() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    names = {found[1] for line in lines if (found := re.match(r"(?:# )?([A-Z][A-Z0-9_]+)=", line))}
    known = {name.upper() for name in Settings.model_fields}
    taken = set(re.findall(r"\$\{(\w+)", (ROOT / COMPOSE).read_text()))
    assert {name for name in names if name.partition("__")[0] not in known | taken | {"SECRETS"}} == set()
