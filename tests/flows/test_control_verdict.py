"""What is told first at three in the morning."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from flows.control import verdict
from flows.control.serving_state import ServingState
from flows.control.training_state import TrainingState
from flows.control.verdict import Finding, Level
from serving.rollback import Rollback
from serving.status import PredictorStatus, RuntimeStatus
from serving.supervision import ProcessState

V3 = PredictorStatus("v3", 100, False, True, 1, 1, 1, 1, 10, 0, 5.0, 9.0)
RUNNING = RuntimeStatus(True, "", "", "", "", [ProcessState("envoy", "RUNNING", 1, 0)], [V3], [])
SERVING = ServingState(RUNNING, False, None, [])
TRAINING = TrainingState(False, None, None, None, 0, False, [])


def serving(runtime: dict[str, Any] | None = None, **changes: Any) -> list[tuple[Level, str]]:
    state = replace(SERVING, runtime=replace(RUNNING, **runtime or {}), **changes)
    return [(finding.level, finding.what) for finding in verdict.of_serving(state)]


def test_all_is_well_when_one_version_answers_everybody() -> None:
    told = verdict.verdict(list(verdict.of_serving(SERVING)))
    assert (told.level, told.line) == (Level.GREEN, "All is well: v3 answers 100 %")


def test_the_worst_comes_first_and_says_how_much_more_there_is() -> None:
    amber, red, green = (Finding(level, level.value) for level in (Level.AMBER, Level.RED, Level.GREEN))
    told = verdict.verdict([green, amber, red, amber])
    assert (told.level, told.line) == (Level.RED, "Red (and 2 more)")
    assert told.findings == [red, amber, amber, green]
    assert verdict.verdict([]).level is Level.GREEN


def test_what_hits_users_is_red() -> None:
    assert serving({"running": False}) == [(Level.RED, "Nothing is served")]
    assert (Level.RED, "2 processes are left of a supervisor that died: nothing restarts them") in serving(
        {"running": False, "orphans": [7, 8]}
    )
    assert serving({"components": [ProcessState("envoy", "FATAL", None, 0)]})[0] == (
        Level.RED,
        "envoy does not run (fatal)",
    )
    dead = replace(V3, ready=False)
    assert "nobody gets a recommendation of a model" in serving({"predictors": [dead]})[0][1]
    half = replace(V3, name="v4", weight=50, ready=False)
    level, what = serving({"predictors": [replace(V3, weight=50), half]})[0]
    assert level is Level.RED and what == "v4 (50 % of the users) is not ready: others answer for it"


def test_a_rollout_is_told_and_one_that_was_killed_asks_for_a_person() -> None:
    both = {"predictors": [replace(V3, weight=75), replace(V3, name="v4", weight=25)]}
    canary = Rollback("v4", 25, "v3")
    shares = "v3 answers 75 %, v4 answers 25 %"
    assert serving(both, rollout_running=True, rollback=canary) == [
        (Level.GREEN, f"v4 is being rolled out: {shares}")
    ]
    assert serving(both, rollback=canary) == [
        (Level.AMBER, f"v4 was left behind by a rollout that was killed: {shares}")
    ]
    # An A/B test by a manifest.
    assert serving(both) == [(Level.GREEN, shares)]


@pytest.mark.parametrize(
    ("requests", "failed", "found"), [(19, 19, 0), (20, 1, 0), (20, 2, 1), (1000, 50, 0)]
)
def test_a_predictor_fails_when_more_than_a_few_answers_do(requests: int, failed: int, found: int) -> None:
    minutes = pd.DataFrame({"predictor": ["v3", "v3"], "requests": [requests - 1, 1], "failed": [failed, 0]})
    told = list(verdict.of_traffic(minutes, "the last 5 minutes"))
    assert len(told) == found and all(finding.level is Level.RED for finding in told)


def test_an_alarm_keeps_its_capitals_and_no_alarm_is_no_finding() -> None:
    def found(alarms: list[str]) -> list[Finding]:
        return list(verdict.of_drift({"alarms": alarms, "drifted": [], "at": None}, []))

    assert found([]) == []
    (one,) = found(["performance: NDCG@10 of Berlin falls", "drift of what is served in user_age"])
    assert one.level is Level.AMBER
    assert one.what == "Performance: NDCG@10 of Berlin falls; drift of what is served in user_age"


def test_what_stops_the_loop_is_amber_and_what_it_does_is_green() -> None:
    def training(**changes: Any) -> list[tuple[Level, str]]:
        return [(one.level, one.what) for one in verdict.of_training(replace(TRAINING, **changes))]

    assert training() == []
    assert training(stopped="holidays") == [(Level.AMBER, "Retraining is paused: holidays")]
    assert training(fruitless=3, needs_person=True) == [
        (Level.AMBER, "The last 3 trainings brought nothing, and nothing trains any more")
    ]
    assert training(waiting=7) == [(Level.AMBER, "Version 7 passed the gate and waits for its rollout")]
    assert training(waiting=7, running=True) == [(Level.GREEN, "a training or its rollout runs")]
