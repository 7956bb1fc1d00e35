"""The prediction log against its suites: bad entries are told and kept, whatever wrote them."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from flows.log_quality import check_log
from monitoring import log_files, quarantine
from monitoring.log_entries import FEEDBACK, PREDICTIONS
from monitoring.settings import MonitoringSettings

NOW = pd.Timestamp(datetime.now(UTC))
GOOD_ANSWER = {
    "request_id": "q",
    "user_id": "u1",
    "model_name": "recommender",
    "model_version": "3",
    "predictor": "v3",
    "ok": True,
    "features": json.dumps({"user_segment": "x" * 500}),
    "rental_ids": ["r1", "r2"],
    "scores": [0.9, -0.5],
    "predicted_ratings": [5.0, 1.0],
    "latency_ms": 2.5,
    "timestamp": NOW,
    "features_failure": None,
}
BAD_ANSWERS = {
    "predicted_ratings is of 5 and less only": {"predicted_ratings": [5.1, 1.0]},
    "predicted_ratings is of 1 and more only": {"predicted_ratings": [5.0, 0.9]},
    "predicted_ratings is as long as rental_ids": {"predicted_ratings": [5.0]},
    "scores is a list of finite numbers": {"scores": [0.9, float("nan")]},
    "rental_ids is a list of texts": {"rental_ids": ["r1", None]},
    "latency_ms is within 0..600000": {"latency_ms": -1.0},
    "ok is present": {"ok": None},
    "user_id is not blank": {"user_id": ""},
}
GOOD_FEEDBACK = {"request_id": "q", "user_id": "u1", "rental_id": "r1", "rating": 4.0, "timestamp": NOW}
BAD_FEEDBACK = {
    "rating is within 1..5": {"rating": 9.0},
    "rental_id is not blank": {"rental_id": " "},
    "request_id is present": {"request_id": None},
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> MonitoringSettings:
    found = MonitoringSettings(home=tmp_path_factory.mktemp("home"))
    failed = {
        "ok": False,
        "rental_ids": [],
        "scores": [],
        "predicted_ratings": [],
        "features_failure": "late",
    }
    answers = [GOOD_ANSWER, GOOD_ANSWER | failed, *(GOOD_ANSWER | one for one in BAD_ANSWERS.values())]
    click = {"rating": None}
    said = [GOOD_FEEDBACK, GOOD_FEEDBACK | click, *(GOOD_FEEDBACK | one for one in BAD_FEEDBACK.values())]
    for rows, schema, table in ((answers, PREDICTIONS, "predictions"), (said, FEEDBACK, "feedback")):
        log_files.append(rows, schema, found.home / "lake" / table)
    return found


def reasons(folder: Path, table: str) -> set[str]:
    return set(quarantine.read(folder / "lake" / "quarantine", table)["reason"])


def test_each_fault_is_named_and_its_entry_is_kept(settings: MonitoringSettings) -> None:
    checked = check_log(settings, NOW)
    assert set(checked["predictions"].bad["reason"]) == set(BAD_ANSWERS)
    # A wrong rating must not become none at all: that would be a click.
    assert set(checked["feedback"].bad["reason"]) == set(BAD_FEEDBACK)
    assert checked["feedback"].good["rating"].isna().tolist() == [False, True]
    assert checked["predictions"].good["ok"].tolist() == [True, False]
    assert reasons(settings.home, "predictions") == set(BAD_ANSWERS)
    assert reasons(settings.home, "feedback") == set(BAD_FEEDBACK)


def test_a_second_look_keeps_nothing_twice_and_the_pages_say_what_is_wrong(
    settings: MonitoringSettings,
) -> None:
    check_log(settings, NOW)
    check_log(settings, NOW + pd.Timedelta(days=1))
    assert quarantine.count(settings.home / "lake" / "quarantine") == {
        "predictions": len(BAD_ANSWERS),
        "feedback": len(BAD_FEEDBACK),
    }
    page = (settings.data_docs / "feedback.html").read_text()
    assert "rating is within 1..5" in page
    assert "https://" not in page + (settings.data_docs / "index.html").read_text()


def test_a_log_that_is_not_there_yet_is_no_fault(tmp_path: Path) -> None:
    checked = check_log(MonitoringSettings(home=tmp_path), NOW)
    assert [len(found.good) + len(found.bad) for found in checked.values()] == [0, 0]
