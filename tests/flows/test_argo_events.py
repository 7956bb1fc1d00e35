"""How flows follow each other on Argo: what is published, what is understood, and what is written down."""

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from metaflow.events import Trigger

from flows import retraining, stand_ins
from flows.events import DRIFT, reason_of, version_to_roll_out
from flows.parameters import BY_HAND, ParameterError
from flows.retraining import rolled_out_on_argo, trained_on_argo
from flows.retraining_log import Outcome, log_of
from flows.runs import FlowFailedError
from flows.settings import FlowSettings

UNTIL, REASON = pd.Timestamp("2026-05-01", tz="UTC"), "drift in price"
AFTER_FEATURES = Trigger(
    [
        {
            "name": "metaflow.FeaturesFlow.end",
            "type": "run",
            "id": "FeaturesFlow/argo-f-1/end/t-2",
            "timestamp": None,
        }
    ]
)
ALARM = """
import pandas as pd
from flows import retraining
from flows.retraining_log import log_of
from flows.settings import FlowSettings
for _ in range(2):
    print(retraining.retrain("drift in price", pd.Timestamp("2026-05-01", tz="UTC"), True).conclusion)
print(*[(one.outcome, one.reason) for one in log_of(FlowSettings()).read()])
"""


@pytest.fixture
def log(monkeypatch, tmp_path):
    """The log of a home in which a training that drift started runs on Argo."""
    monkeypatch.setenv("RENTALS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ARGO_WORKFLOW_TEMPLATE", "trainflow-on-drift")
    found = log_of(FlowSettings())
    found.begin(UNTIL, REASON)
    return found


@pytest.mark.slow
def test_an_alarm_on_argo_is_one_event_with_the_reason_and_the_new_window(python, tmp_path):
    with stand_ins.cluster() as (variables, sent):
        known = json.loads(Path(variables["KUBECONFIG"]).read_text())["clusters"]
        settings = {
            "RENTALS_HOME": str(tmp_path / "home"),
            "ARGO_WORKFLOW_TEMPLATE": "monitorflow",
            "METAFLOW_ARGO_EVENTS_WEBHOOK_URL": known[0]["cluster"]["server"],
        }
        said = python("-c", ALARM, **settings)
    (event,) = sent
    assert event["name"] == event["payload"]["name"] == DRIFT
    assert (event["payload"]["until"], event["payload"]["reason"]) == ("2026-05-01", REASON)
    assert "drift in price: the training was started" in said
    assert "drift in price: another retraining is running" in said, "it is, though nobody here waits for it"
    assert "(<Outcome.RUNNING: 'running'>, 'drift in price')" in said


def test_an_event_that_is_not_taken_is_a_training_that_failed(log, monkeypatch):
    log.clear()
    monkeypatch.setattr(retraining, "waiting_version", lambda: None)
    with pytest.raises(FlowFailedError, match="is METAFLOW_ARGO_EVENTS_WEBHOOK_URL right"):
        retraining.retrain("drift in price", UNTIL, True)
    assert [one.outcome for one in log.read()] == [Outcome.FAILED]


@pytest.mark.parametrize(("version", "outcome"), [(7, Outcome.REGISTERED), (None, Outcome.REFUSED)])
def test_the_training_writes_down_how_it_ended(log, version, outcome):
    trained_on_argo("2026-05-01", REASON, version, "passed: better")
    (written,) = log.read()
    assert (written.outcome, written.version, written.detail) == (outcome, version, "passed: better")


def test_another_training_writes_nothing_into_the_log_of_drift(log, monkeypatch):
    trained_on_argo("", BY_HAND, 7, "passed")
    trained_on_argo("2026-05-02", REASON, 7, "passed")
    monkeypatch.delenv("ARGO_WORKFLOW_TEMPLATE")
    trained_on_argo("2026-05-01", REASON, 7, "passed")
    assert [one.outcome for one in log.read()] == [Outcome.RUNNING]


def test_the_rollout_writes_down_a_version_that_lost_its_traffic(log):
    trained_on_argo("2026-05-01", REASON, 7, "passed")
    rolled_out_on_argo(6, SimpleNamespace(promoted=False, reasons=["slower"]))
    rolled_out_on_argo(7, SimpleNamespace(promoted=True, reasons=["equal"]))
    assert log.read()[-1].outcome is Outcome.REGISTERED
    rolled_out_on_argo(7, SimpleNamespace(promoted=False, reasons=["slower"]))
    assert (log.read()[-1].outcome, log.read()[-1].detail) == (Outcome.ROLLED_BACK, "slower")


def test_a_training_that_has_not_ended_for_days_is_dead(log, monkeypatch):
    monkeypatch.setattr(retraining, "waiting_version", lambda: 7)
    assert "another retraining is running" in retraining.retrain("drift in price", UNTIL, True).conclusion
    monkeypatch.setattr(retraining, "LONGEST_TRAINING", pd.Timedelta(0))
    done = retraining.retrain("drift in price", UNTIL, True)
    assert log.read()[-1].outcome is Outcome.FAILED
    assert "version 7 waits for its rollout" in done.conclusion, "Argo starts that one"


def test_a_training_knows_why_it_runs():
    assert reason_of(BY_HAND, None) == BY_HAND
    assert reason_of(BY_HAND, AFTER_FEATURES) == "after FeaturesFlow/argo-f-1"
    assert reason_of(REASON, AFTER_FEATURES) == REASON


def test_a_rollout_takes_the_version_that_it_is_given_or_that_was_trained():
    trained = SimpleNamespace(run=SimpleNamespace(data=SimpleNamespace(version=7)))
    assert version_to_roll_out(5, trained) == 5
    assert version_to_roll_out(0, trained) == 7
    with pytest.raises(ParameterError, match="--version is missing"):
        version_to_roll_out(0, None)
