"""The alert rules, in Prometheus's own hands: each fires when it should and is silent when it should be."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
RULES = CHECKOUT / "monitoring" / "alerts.yaml"
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}

USERS = 'rentals_api_requests_total{job="rentals-api", route="/users", '
ANSWERS = 'rentals_api_recommendations_total{job="rentals-api", '
BUCKET = 'rentals_api_request_seconds_bucket{job="rentals-api", route="/users", '
STARTED = 'rentals_component_start_time_seconds{component="api"}'
RAN = "rentals_batch_last_run_timestamp_seconds"
DECIDED = "rentals_rollout_last_decision_timestamp_seconds"
STOPPED = "rentals_retraining_stopped_timestamp_seconds"

Series = dict[str, str]


class Scenario(NamedTuple):
    """Series (values from 1970 on, in Prometheus's notation) with which an alert is to fire or not."""

    alert: str
    fires: Series
    silent: Series
    at: str = "30m"
    """When that is looked at."""

    every: str = "1m"
    """Time between two values, and between two looks at the rules."""


SCENARIOS = [
    Scenario("ApiDown", {'up{job="rentals-api"}': "1 1 0x60"}, {'up{job="rentals-api"}': "1x20 0 1x60"}),
    Scenario("ApiDown", {}, {'up{job="rentals-api"}': "1x60"}),
    Scenario(
        "ApiErrors",
        {USERS + 'status="200"}': "0+100x60", USERS + 'status="503"}': "0+2x60"},
        {
            USERS + 'status="200"}': "0+1000x60",
            USERS + 'status="503"}': "0+2x60",
            USERS.replace("/users", "/readyz") + 'status="503"}': "0+500x60",
        },
    ),
    Scenario("ApiErrors", {USERS + 'status="500"}': "0+1x60"}, {USERS + 'status="404"}': "0+1x60"}),
    Scenario(
        "ApiSlow",
        {
            BUCKET + 'le="0.5"}': "0+95x60",
            BUCKET + 'le="2.5"}': "0+100x60",
            BUCKET + 'le="+Inf"}': "0+100x60",
        },
        {
            BUCKET + 'le="0.5"}': "0+100x60",
            BUCKET + 'le="2.5"}': "0+100x60",
            BUCKET + 'le="+Inf"}': "0+100x60",
        },
    ),
    Scenario(
        "ApiDegraded",
        {ANSWERS + 'degraded="True"}': "0+1x60", ANSWERS + 'degraded="False"}': "0+9x60"},
        {ANSWERS + 'degraded="True"}': "0+1x60", ANSWERS + 'degraded="False"}': "0+99x60"},
    ),
    Scenario(
        "PredictorDown",
        {'up{job="rentals-predictor", predictor="v3"}': "1x9 0x60"},
        {'up{job="rentals-predictor", predictor="v3"}': "1x9 0 1x60"},
    ),
    Scenario("ComponentDown", {'up{job="rentals-envoy"}': "0x60"}, {'up{job="rentals-envoy"}': "1x60"}),
    Scenario("SupervisorDown", {"rentals_supervisor_up": "0x60"}, {"rentals_supervisor_up": "1x60"}),
    Scenario("ComponentRestarting", {STARTED: "0+60x60"}, {STARTED: "0x20 60x60"}),
    Scenario(
        "PredictionLogDropping",
        {"rentals_prediction_log_dropped_total": "0x25 5x60"},
        {"rentals_prediction_log_dropped_total": "0x5 5x60"},
    ),
    Scenario(
        "RolloutTakenBack",
        {DECIDED + '{action="rollback"}': "172000x50", DECIDED + '{action="start"}': "171000x50"},
        {DECIDED + '{action="rollback"}': "0x50", DECIDED + '{action="promote"}': "172000x50"},
        at="48h",
        every="1h",
    ),
    Scenario(
        "RolloutTakenBack",
        {DECIDED + '{action="interrupt"}': "172000x50"},
        {DECIDED + '{action="interrupt"}': "80000x50"},
        at="48h",
        every="1h",
    ),
    Scenario(
        "FeaturesStale",
        {RAN + '{part="features"}': "0x50"},
        {RAN + '{part="features"}': "86400x50"},
        at="48h",
        every="1h",
    ),
    Scenario(
        "FeaturesStale", {RAN + '{part="drift"}': "0x90"}, {RAN + '{part="features"}': "0x90"}, at="90m"
    ),
    Scenario(
        "BatchMostlyBad",
        {'rentals_ingest_bad_ratio{table="users"}': "0.6x60", "rentals_ingest_bad_ratio_limit": "0.5x60"},
        {'rentals_ingest_bad_ratio{table="users"}': "0.6x60", "rentals_ingest_bad_ratio_limit": "0.7x60"},
    ),
    Scenario(
        "MonitorLate",
        {RAN + '{part="drift"}': "0x240"},
        {RAN + '{part="drift"}': "432000x240"},
        at="240h",
        every="1h",
    ),
    Scenario("MonitorLate", {RAN + '{part="features"}': "0x90"}, {RAN + '{part="drift"}': "0x90"}, at="90m"),
    Scenario(
        "DriftFound",
        {'rentals_drift_detected{feature="price"}': "1x60", 'rentals_drift_detected{feature="age"}': "0x60"},
        {'rentals_drift_detected{feature="price"}': "0x60"},
    ),
    Scenario(
        "PerformanceAlarm",
        {'rentals_performance_alarm{figure="rmse", version="3"}': "1x60"},
        {'rentals_performance_alarm{figure="rmse", version="3"}': "0x60"},
    ),
    Scenario(
        "RetrainingInVain",
        {"rentals_retrainings_in_vain": "3x60", "rentals_retrainings_in_vain_limit": "3x60"},
        {"rentals_retrainings_in_vain": "2x60", "rentals_retrainings_in_vain_limit": "3x60"},
    ),
    Scenario("RetrainingStopped", {STOPPED: "60x100"}, {STOPPED: "0x100"}, at="96h", every="1h"),
    Scenario("RetrainingStopped", {STOPPED: "60x100"}, {STOPPED: "172800x100"}, at="96h", every="1h"),
    Scenario(
        "FiguresUnreadable", {"rentals_batch_damaged_files": "1x60"}, {"rentals_batch_damaged_files": "0x60"}
    ),
]


@pytest.fixture(scope="session")
def promtool() -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    return program


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_are_ones(promtool: str) -> None:
    assert "SUCCESS" in run(promtool, "check", "rules", RULES)


def test_each_alert_fires_when_it_should_and_only_then(promtool: str, tmp_path: Path) -> None:
    def test(scenario: Scenario, fires: bool) -> dict[str, Any]:
        series = scenario.fires if fires else scenario.silent
        return {
            "name": f"{scenario.alert} {'fires' if fires else 'is silent'}",
            "interval": scenario.every,
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{scenario.alert}", alertstate="firing"}})',
                    "eval_time": scenario.at,
                    "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
                }
            ],
        }

    for every in ("1m", "1h"):
        chosen = [scenario for scenario in SCENARIOS if scenario.every == every]
        tests = [test(scenario, fires) for scenario in chosen for fires in (True, False)]
        file = tmp_path / f"every-{every}.yaml"
        document = {"rule_files": [str(RULES)], "evaluation_interval": every, "tests": tests}
        file.write_text(yaml.safe_dump(document))
        run(promtool, "test", "rules", file)


def test_each_alert_has_a_scenario() -> None:
    assert {scenario.alert for scenario in SCENARIOS} == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_says_how_bad_it_is_and_where_to_read_on(name: str) -> None:
    rule = ALERTS[name]
    sections = re.findall(r"^## (\w+)$", (CHECKOUT / "docs" / "alerts.md").read_text(), re.MULTILINE)
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/alerts.md#{name.lower()}"
    assert sections.count(name) == 1


def test_the_operators_table_has_each_alert_with_its_severity() -> None:
    table = (CHECKOUT / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| \[(\w+)\]\(alerts\.md#(\w+)\) \|.*\| (\w+) \|$", table, re.MULTILINE)
    assert rows == [(name, name.lower(), rule["labels"]["severity"]) for name, rule in ALERTS.items()]


def test_the_dashboard_shows_all_that_is_recorded() -> None:
    dashboard = (CHECKOUT / "monitoring" / "grafana" / "rentals.json").read_text()
    recorded = {rule["record"] for group in GROUPS for rule in group["rules"] if "record" in rule}
    assert not [name for name in recorded if name not in dashboard]
