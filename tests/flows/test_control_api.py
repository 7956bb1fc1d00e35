"""The control API on the files of a home: what it tells, what it refuses, and what a key lets happen."""

import json
import math
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient

from feature_repo import history, lake
from flows import retraining
from flows.brake import stop_file, stopped
from flows.control.api import create_app
from flows.retraining_log import Outcome, log_of
from flows.settings import FlowSettings
from monitoring import quarantine
from monitoring.prediction_log import Prediction, PredictionLog
from serving import api_keys
from serving.decision_log import Action, DecisionLog
from serving.manifest import render, save
from serving.runtime import applied_path
from serving.settings import ServingSettings

DAY = pd.Timestamp("2024-05-01", tz="UTC")
ACTS = ("/pause", "/resume", "/rollback", "/retrain")
BODY = {"why": "a test", "predictor": "v4"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RENTALS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def api(home: Path) -> Iterator[TestClient]:
    app = create_app()
    with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def key(home: Path) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_keys.create(ServingSettings(home=home).api_keys)}"}


def write_ratings(home: Path, days: int = 10) -> None:
    times = DAY - pd.to_timedelta(np.arange(1, days + 1), unit="D")
    rows = pd.DataFrame({"event_timestamp": times, "arrived_at": times, "rating": 4.0}).assign(
        rating_id=[f"x{number}" for number in range(days)], user_id="u", rental_id="r"
    )
    rows = rows.assign(source_rating=4.0, purpose="work", size=12.0)
    lake.claim(home / "lake", "generator")
    lake.append(home / "lake", "ratings", "first", rows)


def mark_features(home: Path, as_of: pd.Timestamp, seen: tuple[str, ...] = ("first.parquet",)) -> None:
    """As a computation of the features does when it ends."""
    mark = {
        "as_of": as_of.isoformat(),
        "batches": {"users": {}, "rentals": {}, "ratings": dict.fromkeys(seen, "")},
        "definition": history.definition(),
    }
    (home / "lake" / "FEATURES.json").write_text(json.dumps(mark))


def write_drift(home: Path, alarms: list[str]) -> None:
    (home / "monitoring").mkdir(parents=True, exist_ok=True)
    feature = {
        "name": "purpose",
        "kind": "categorical",
        "effects": {"psi": math.nan},
        "drifted": bool(alarms),
    }
    shares = {"name": "purpose", "labels": ["work"], "reference": [1.0], "current": [1.0]}
    report = {
        "drifted": ["purpose"] if alarms else [],
        "features": [feature],
        "distributions": [shares],
        "periods": "before and after",
        "measured_at": datetime.now(UTC).isoformat(),
        "served": None,
        "alarms": alarms,
    }
    (home / "monitoring" / "drift.json").write_text(json.dumps(report))


def findings(api: TestClient) -> dict[str, str]:
    """Level by finding."""
    told = api.get("/now").json()["verdict"]
    return {one["what"]: one["level"] for one in told["findings"]}


def processes_of(home: Path) -> list[str]:
    """Command lines of the processes that work on a home."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if f"RENTALS_HOME={home}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found.append((folder / "cmdline").read_text())
            except OSError:
                continue
    return found


def test_an_empty_home_is_told_with_what_to_do(api: TestClient) -> None:
    told = api.get("/now").json()["verdict"]
    assert (told["level"], told["line"]) == ("red", "Nothing is served (and 1 more)")
    assert told["findings"][0]["remedy"] == "make up"
    assert "run `make features`" in told["findings"][1]["what"]
    for path in ("/traffic", "/answers"):
        assert api.get(path).json() == []
    for path in ("/drift", "/performance"):
        answer = api.get(path)
        assert answer.status_code == 404 and "run `make monitor`" in answer.json()["detail"]
        assert answer.headers["content-type"] == "application/problem+json"
    assert api.get("/data").json()["quarantined"] == []


def test_a_damaged_file_is_a_finding_and_a_problem_with_its_remedy(api: TestClient, home: Path) -> None:
    (home / "monitoring").mkdir(parents=True)
    for name, path in (("drift.json", "/drift"), ("performance.parquet", "/performance")):
        (home / "monitoring" / name).write_text("half a fi")
        answer = api.get(path)
        assert answer.status_code == 503 and "is damaged" in answer.json()["detail"]
    assert any("drift.json is damaged" in what for what in findings(api))
    applied_path(ServingSettings(home=home)).write_text("no: manifest")
    assert api.get("/now").status_code == 200


def test_an_older_report_without_alarms_is_damaged(api: TestClient, home: Path) -> None:
    (home / "monitoring").mkdir(parents=True)
    (home / "monitoring" / "drift.json").write_text('{"drifted": []}')
    answer = api.get("/drift")
    assert answer.status_code == 503 and "is damaged (KeyError('alarms'))" in answer.json()["detail"]
    assert any("drift.json is damaged" in what for what in findings(api))


def test_a_file_that_cannot_be_read_hides_no_other_part(api: TestClient, home: Path) -> None:
    write_drift(home, ["performance: rmse rises"])
    (home / "run").mkdir()
    for damaged in ("retrainings.db", "run/decisions.db"):
        (home / damaged).write_bytes(b"no database" * 100)
    (home / "retraining-stopped").mkdir()
    quarantined = home / "lake" / "quarantine" / "ratings" / "first.parquet"
    quarantined.parent.mkdir(parents=True)
    quarantined.write_text("half a fi")

    told = findings(api)

    unseen = "cannot be seen: a file cannot be read"
    decisions = f"the decisions of rollouts at {home / 'run' / 'decisions.db'} cannot be read"
    parts = ((decisions, "red"), (f"the trainings {unseen}", "amber"), (f"the data {unseen}", "amber"))
    for begins, level in parts:
        (what,) = (what for what in told if what.startswith(begins))
        assert told[what] == level and "restore it, or move it away" in what
    assert told["Performance: rmse rises"] == "amber"
    answer = api.get("/data")
    assert answer.status_code == 503 and "a file cannot be read (ArrowInvalid" in answer.json()["detail"]


def test_reports_are_passed_on_and_what_is_no_number_is_null(api: TestClient, home: Path) -> None:
    write_drift(home, ["drift in purpose"])
    figures = pd.DataFrame(
        {
            "period_start": [DAY, DAY],
            "period_end": [DAY, DAY],
            "model_version": ["3", "3"],
            "segment": ["all", "all"],
            "metric": ["rmse", "ndcg_at_10"],
            "value": [0.65, math.nan],
            "lower": [0.6, -math.inf],
            "upper": [0.7, math.inf],
            "count": [10, 20],
            "estimated": [False, True],
        }
    )
    figures.to_parquet(home / "monitoring" / "performance.parquet")

    report, rows = api.get("/drift").json(), api.get("/performance").json()

    assert report["features"][0]["effects"] == {"psi": None}
    assert report["distributions"][0]["labels"] == ["work"]
    assert [row["value"] for row in rows] == [0.65, None]
    assert [row["upper"] for row in rows] == [0.7, None]
    assert rows[0]["period_start"] == "2024-05-01T00:00:00Z" and rows[1]["estimated"] is True


def test_drift_is_amber_until_a_training_has_followed(api: TestClient, home: Path) -> None:
    log = log_of(FlowSettings(home=home))
    log.begin(DAY, "before")
    log.end(Outcome.REGISTERED, 3, "")
    write_drift(home, ["drift in purpose", "performance: RMSE of DE rises"])
    assert findings(api)["Drift in purpose; performance: RMSE of DE rises"] == "amber"

    log.begin(DAY, "drift in purpose")
    log.end(Outcome.REGISTERED, 4, "passed")
    # A copy of the file, such as a backup's, is no newer comparison.
    os.utime(home / "monitoring" / "drift.json", (2**31, 2**31))
    told = findings(TestClient(create_app(), "http://127.0.0.1"))
    assert told["drift in purpose; performance: RMSE of DE rises: version 4 was trained since"] == "green"


def test_freshness_and_quarantine_are_those_of_the_lake(api: TestClient, home: Path) -> None:
    write_ratings(home)
    mark_features(home, DAY - pd.Timedelta(days=3), seen=())
    bad = pd.DataFrame({"reason": ["off its scale"] * 3 + ["absent"], "rating_id": list("abcd")})
    quarantine.write(bad, "ratings", "first", home / "lake" / "quarantine")

    state = api.get("/data").json()

    assert (state["dataset"], state["rows"]["ratings"]) == ("generator", 10)
    assert state["data_until"] == "2024-05-01T00:00:00Z"
    assert state["features_until"] == "2024-04-28T00:00:00Z"
    assert state["missed"] == 7, "known by then, and of a batch that was not seen"
    (one,) = state["quarantined"]
    assert (one["rows"], one["share"]) == (4, pytest.approx(4 / 14))
    assert list(one["reasons"].items()) == [("off its scale", 3), ("absent", 1)]
    told = findings(api)
    assert told["Features are 3 days behind the ratings"] == "amber"
    assert told["28.6% of all ratings are in quarantine (4 rows)"] == "amber"
    assert told["7 ratings landed late and are in no feature"] == "amber"


def test_decisions_come_newest_first(api: TestClient, home: Path) -> None:
    log = DecisionLog(ServingSettings(home=home).decisions)
    log.append("v3", "v4", 10, Action.START, ["10 % of the traffic"])
    log.append("v3", "v4", 10, Action.ROLLBACK, ["worse"])

    decisions = api.get("/now").json()["serving"]["decisions"]

    assert [one["action"] for one in decisions] == ["rollback", "start"]


def test_traffic_and_answers_are_those_of_the_prediction_log(api: TestClient, home: Path) -> None:
    with PredictionLog(home / "lake") as log:
        for number in range(30):
            failed = number < 10
            ranked = ([], [], []) if failed else (["r1"], [1.0], [4.5])
            log.record(
                Prediction(
                    f"q{number}", "u", "m", "4", "v4", not failed, {}, *ranked, 10.0, datetime.now(UTC)
                )
            )

    rows = api.get("/traffic", params={"minutes": 30}).json()

    assert (sum(row["requests"] for row in rows), sum(row["failed"] for row in rows)) == (30, 10)
    assert len(api.get("/answers").json()) == 20
    assert findings(api)["v4 failed 33% of 30 answers of the last 5 minutes"] == "red"


@pytest.mark.parametrize("path", ACTS)
def test_an_act_needs_a_key_even_before_there_is_one(api: TestClient, home: Path, path: str) -> None:
    for _ in range(2):
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            refused = api.post(path, json=BODY, headers=headers)
            assert refused.status_code == 401
            assert "python -m serving key" in refused.json()["detail"]
        api_keys.create(ServingSettings(home=home).api_keys)
    assert not stop_file(FlowSettings(home=home)).exists()
    assert not (home / "retrainings.db").exists() or not log_of(FlowSettings(home=home)).read()


def test_a_person_pauses_and_resumes_retraining(api: TestClient, home: Path, key: dict[str, str]) -> None:
    settings = FlowSettings(home=home)
    assert api.post("/pause", json={"why": " holidays "}, headers=key).status_code == 200
    assert stopped(settings) == "holidays"
    training = api.get("/now").json()["training"]
    assert training["stopped"] == "holidays"

    assert api.post("/resume", json={"why": "back again"}, headers=key).status_code == 200
    assert stopped(settings) is None
    (forgiven,) = log_of(settings).read()
    assert (forgiven.outcome, forgiven.reason) == (Outcome.FORGIVEN, "by hand: back again")


@pytest.mark.parametrize("why", ["", "   ", "x" * 501, "a\0b"])
def test_an_act_needs_a_reason(api: TestClient, key: dict[str, str], home: Path, why: str) -> None:
    answer = api.post("/pause", json={"why": why}, headers=key)
    assert answer.status_code == 422 and answer.json()["detail"].startswith("why: ")
    assert not stop_file(FlowSettings(home=home)).exists()


def test_what_is_not_served_cannot_be_rolled_back(api: TestClient, home: Path, key: dict[str, str]) -> None:
    nothing = api.post("/rollback", json=BODY, headers=key)
    assert nothing.status_code == 409 and "nothing to take back" in nothing.json()["detail"]

    save(render({"v5": 100}, settings := ServingSettings(home=home)), applied_path(settings))
    DecisionLog(settings.decisions).append("v4", "v5", 50, Action.PROMOTE, ["better"])
    other = api.post("/rollback", json=BODY, headers=key)
    assert other.status_code == 409 and "v4 cannot be taken back now, v5 can" in other.json()["detail"]


def test_the_brake_holds_for_a_person_too(api: TestClient, home: Path, key: dict[str, str]) -> None:
    refused = api.post("/retrain", json={"why": "a hunch"}, headers=key)
    assert refused.status_code == 409 and "make features" in refused.json()["detail"]

    write_ratings(home)
    mark_features(home, DAY)
    retraining.stop(FlowSettings(home=home), "inventory")
    refused = api.post("/retrain", json={"why": "a hunch"}, headers=key)
    assert refused.status_code == 409 and "retraining is stopped (inventory)" in refused.json()["detail"]
    assert not processes_of(home)


@pytest.mark.slow
def test_one_training_at_a_time_starts_and_none_outlives_the_room(
    home: Path, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ratings(home)
    mark_features(home, DAY)
    # A relative home is below this folder, and a training works in another one.
    monkeypatch.chdir(home.parent)
    monkeypatch.setenv("RENTALS_HOME", home.name)
    with TestClient(create_app(), "http://127.0.0.1") as api:
        assert api.post("/retrain", json={"why": "--a hunch"}, headers=key).status_code == 202
        deadline = time.monotonic() + 10
        # A process that has just begun shows no environment yet.
        while not (found := processes_of(home)) and time.monotonic() < deadline:
            time.sleep(0.01)
        (command,) = found
        assert command.split("\0")[1:] == ["-m", "flows", "retrain", "--why=--a hunch", ""]
        again = api.post("/retrain", json={"why": "another"}, headers=key)
        assert again.status_code == 409 and "a training is starting" in again.json()["detail"]
    assert not processes_of(home)


def test_a_killed_training_is_told_as_failed(api: TestClient, home: Path) -> None:
    log = log_of(FlowSettings(home=home))
    log.begin(DAY, "drift in price")
    training = api.get("/now").json()["training"]
    assert not training["running"]
    assert [(one["outcome"], one["detail"]) for one in training["trainings"]] == [("failed", "it was killed")]

    with lake.exclusive(home / "retraining"):
        running = TestClient(create_app(), "http://127.0.0.1").get("/now").json()["training"]
    assert running["running"] and running["trainings"][0]["outcome"] == "running"
    assert running["objection"] == "a training is running, or the rollout of its version"


def test_a_page_of_somebody_else_cannot_read_it(api: TestClient) -> None:
    assert api.get("/now", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("request_id", ["none", "../../etc/passwd", "a/b", "q'; DROP TABLE", "ü" * 100])
def test_an_unknown_recommendation_is_told(api: TestClient, request_id: str) -> None:
    answer = api.get("/lineage", params={"request_id": request_id})
    assert answer.status_code == 404 and "take the request_id of a recommendation" in answer.json()["detail"]


def test_errors_are_documented_nowhere_but_told_as_problems(api: TestClient) -> None:
    for wrong in (api.get("/nowhere"), api.get("/traffic?minutes=0"), api.get("/lineage")):
        assert wrong.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = wrong.json()
        assert problem["status"] == wrong.status_code and problem["detail"]
