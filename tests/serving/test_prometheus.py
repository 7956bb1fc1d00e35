"""What Prometheus is told of the runtime, and what the exporter and rollouts tell it."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_server import DASHBOARD, metric_names

from serving import exporter, prometheus
from serving.__main__ import main
from serving.components import RuntimeState, new_state
from serving.decision_log import Action, DecisionLog
from serving.manifest import render, save
from serving.rollout_metrics import rollout_metrics
from serving.runtime import applied_path, down
from serving.settings import ServingSettings
from serving.triton_server import TritonPorts


@pytest.fixture
def state(settings: ServingSettings) -> RuntimeState:
    state = new_state(settings)
    state.predictors["v3"] = TritonPorts(http=1, grpc=2, metrics=3)
    return state


def test_every_component_is_a_target_under_its_job(settings: ServingSettings, state: RuntimeState) -> None:
    prometheus.write_targets(state, settings)

    groups = json.loads(prometheus.targets_path(settings).read_text())
    assert {(*group["targets"], group["labels"]["job"]) for group in groups} == {
        (f"127.0.0.1:{state.api}", "rentals-api"),
        (f"127.0.0.1:{state.gateway.admin}", "rentals-envoy"),
        (f"127.0.0.1:{state.feedback}", "rentals-feedback"),
        (f"127.0.0.1:{state.exporter}", "rentals-exporter"),
        ("127.0.0.1:3", "rentals-predictor"),
    }
    assert groups[-1]["labels"]["predictor"] == "v3"


def test_a_runtime_that_was_stopped_has_no_targets(settings: ServingSettings, state: RuntimeState) -> None:
    prometheus.write_targets(state, settings)
    down(settings)

    assert json.loads(prometheus.targets_path(settings).read_text()) == []


@pytest.mark.parametrize("home", ["home", "a home: # 'odd' %d"])
def test_prometheus_takes_the_configuration(tmp_path: Path, home: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    settings = ServingSettings(home=tmp_path / home)
    prometheus.write_configuration(settings)
    prometheus.write_targets(new_state(settings), settings)

    checked = subprocess.run(
        [program, "check", "config", prometheus.configuration_path(settings)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert "rule files found" in checked.stdout


def test_without_prometheus_the_remedy_is_told(
    settings: ServingSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RENTALS_HOME", str(settings.home))
    monkeypatch.setenv("PATH", "/nowhere")

    assert main(["prometheus"]) == 1
    assert "apt-get install prometheus" in capsys.readouterr().err


def test_the_exporter_tells_of_a_runtime_that_is_down(settings: ServingSettings) -> None:
    shown = generate_latest(exporter.registry(settings)).decode()

    assert "\nrentals_supervisor_up 0.0\n" in shown
    assert "rentals_component_running{" not in shown


def test_the_exporter_tells_the_weights_of_the_applied_manifest(settings: ServingSettings) -> None:
    save(render({"v3": 90, "v4": 10}, settings, shadow="v5"), applied_path(settings))

    shown = generate_latest(exporter.registry(settings)).decode()
    for predictor, share in {"v3": 0.9, "v4": 0.1, "v5": 0.0}.items():
        assert f'rentals_predictor_weight_ratio{{predictor="{predictor}"}} {share}\n' in shown


def test_a_damaged_manifest_hides_the_weights_alone(settings: ServingSettings) -> None:
    applied_path(settings).parent.mkdir(parents=True, exist_ok=True)
    applied_path(settings).write_text("no: manifest")

    shown = generate_latest(exporter.registry(settings)).decode()
    assert "\nrentals_supervisor_up 0.0\n" in shown
    assert "# TYPE rentals_predictor_weight_ratio gauge\n" in shown
    assert "rentals_predictor_weight_ratio{" not in shown


def test_decisions_are_counted_and_the_last_of_each_kind_is_dated(settings: ServingSettings) -> None:
    log = DecisionLog(settings.decisions)
    for share, action in ((5, Action.START), (5, Action.ROLLBACK), (1, Action.START), (25, Action.START)):
        log.append("v3", "v4", share, action, [])
    decisions = log.read()

    samples = {
        (sample.name, sample.labels.get("action")): sample.value
        for family in rollout_metrics(decisions)
        for sample in family.samples
    }
    total, dated = "rentals_rollout_decisions_total", "rentals_rollout_last_decision_timestamp_seconds"
    assert [samples[total, action] for action in Action] == [3, 0, 1, 0]
    assert samples[dated, Action.ROLLBACK] == decisions[1].at.timestamp()
    assert samples[dated, Action.START] == decisions[3].at.timestamp()
    assert samples[dated, Action.PROMOTE] == 0
    assert samples["rentals_rollout_canary_weight_ratio", None] == 0.25


def test_a_canary_has_no_weight_when_its_rollout_has_ended(settings: ServingSettings) -> None:
    log = DecisionLog(settings.decisions)
    log.append("v3", "v4", 25, Action.ROLLBACK, [])

    assert list(rollout_metrics(log.read()))[-1].samples[0].value == 0


def test_the_dashboard_is_whole() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    (variable,) = dashboard["templating"]["list"]
    for panel in panels:
        assert panel["targets"] and panel["title"]
        assert panel["datasource"]["uid"] == f"${{{variable['name']}}}"
    cells = [
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells), "panels overlap"
    assert max(x for x, _ in cells) < 24


def test_names_are_found_in_queries() -> None:
    query = (
        'time() - max by (part) (a_b{part="x", y=~"z{2}"}) / on () group_left (q) rate(c:d[5m]) > 6 or 1e3'
    )
    assert metric_names(query) == {"a_b", "c:d"}
