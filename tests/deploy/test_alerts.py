"""Every alert fires on the series that it is for, stays quiet on others, and names its entry in the runbook."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from service.metrics import Telemetry
from tests.support.pages import anchors

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/rules/ganymede.yml"
CASES = ROOT / "tests/deploy/rules_test.yml"
RUNBOOK = ROOT / "docs/operations.md"
# Everything in it is small; a hung program must not hold the tests up.
TIMEOUT_S = 60
SEVERITIES = {"critical", "warning", "info"}
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed: it is in Debian's package prometheus"
)


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_prometheus_accepts_the_configuration_and_the_rules_that_it_loads() -> None:
    promtool("check", "config", "deploy/prometheus/prometheus.yml")
    promtool("check", "rules", RULES)


@needs_promtool
def test_each_alert_fires_on_its_series_and_no_other_does() -> None:
    promtool("test", "rules", CASES)


def test_each_alert_has_a_case_in_which_it_fires() -> None:
    cases = yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"]
    samples = [
        sample
        for case in cases
        for asked in case.get("promql_expr_test", ())
        for sample in asked["exp_samples"]
    ]  # fmt: skip
    fired = {name for sample in samples for name in re.findall(r'alertname="(\w+)"', sample["labels"])}
    assert fired == {alert["alert"] for alert in alerts()}


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_it_is_what_it_means_and_where_to_read_on(alert: dict[str, Any]) -> None:
    annotations = alert["annotations"]
    assert alert["labels"]["severity"] in SEVERITIES
    assert annotations["summary"]
    assert annotations["description"]
    page, _, anchor = annotations["runbook_url"].partition("#")
    assert ROOT / page == RUNBOOK
    assert anchor == alert["alert"].lower()
    assert anchor in anchors(RUNBOOK)


def test_every_series_is_in_the_operations_page() -> None:
    registry = CollectorRegistry()
    Telemetry(registry)
    page = RUNBOOK.read_text(encoding="utf-8").partition("## Metrics")[2].partition("## Alerts")[0]
    table, _, drift = page.partition("## Drift")
    for family in registry.collect():
        if (name := family.name.removeprefix("ganymede_")) != family.name:
            suffix = "_total" if family.type == "counter" else ""
            short = name.removeprefix("drift_")
            assert re.search(rf"`{short}{suffix}[`{{]", table if short == name else drift), family.name


def test_the_runbook_has_no_entry_without_an_alert() -> None:
    entries = re.findall(r"^### (Ganymede\w+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(entries) == sorted(alert["alert"] for alert in alerts())
