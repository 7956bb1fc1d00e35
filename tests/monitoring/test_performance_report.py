"""All of performance from a log, in one call."""

import numpy as np
import pandas as pd
import pytest

from monitoring.performance import COLUMNS
from monitoring.performance_report import PerformanceReport, measure
from monitoring.served_roles import ServedFeatures
from monitoring.settings import MonitoringSettings

FEATURES = ServedFeatures(("user_segment",), "user_rentals_all", ("user_segment", "user_age"))
SETTINGS = MonitoringSettings(performance_reference_users=150)
END = pd.Timestamp("2026-02-02", tz="UTC")


def report(log: tuple[pd.DataFrame, pd.DataFrame], now: pd.Timestamp = END) -> PerformanceReport:
    return measure(*log, None, now, "3", FEATURES, SETTINGS)


def test_a_version_that_errs_more_and_more_alarms_in_words(served_log) -> None:
    found = report(
        served_log(answers=8000, users=4000, rate=0.8, error=lambda day: np.where(day < 14, 0.4, 1.2))
    )
    assert len(found.alarms) >= 1
    assert found.alarms[0].startswith("RMSE (errors up to 2 stars) of version 3 rose from 0.")
    assert "WORSE  RMSE (errors up to 2 stars) of version 3 rose" in str(found)


def test_one_that_does_not_is_quiet(served_log) -> None:
    assert report(served_log(answers=8000, users=4000, rate=0.8)).alarms == []


def test_awaited_periods_are_estimated_and_flagged(served_log) -> None:
    found = report(served_log(delay_days=1.5))
    assert list(found.table) == list(COLUMNS)
    assert found.horizon == pd.Timedelta(days=7) and found.awaited > 500
    estimated = found.table[found.table["estimated"]]
    assert set(estimated["metric"]) == {"rmse", "reward_share"}
    last = estimated[estimated["metric"] == "rmse"].iloc[-1]
    assert last["lower"] < 0.8 < last["upper"]
    assert "estimated" in str(found)


def test_an_estimate_is_of_the_latest_ratings_and_knows_of_a_change(served_log) -> None:
    log = served_log(answers=6000, delay_days=1.5, error=lambda day: np.where(day < 12, 0.4, 0.9))
    estimated = report(log).table.query("estimated and metric == 'rmse'")
    assert estimated["value"].iloc[-1] == pytest.approx(0.9, rel=0.1)


def test_what_is_not_estimated_is_said(served_log) -> None:
    predictions, feedback = served_log(delay_days=1.5)
    begin = END - pd.Timedelta(days=7)
    old = predictions["features"].str.replace(r'"user_age": \d+', '"user_age": 99', regex=True)
    predictions["features"] = predictions["features"].where(predictions["timestamp"] < begin, old)
    notes = " ".join(report((predictions, feedback)).notes)
    assert (
        "from 2026-01-26 is not estimated: 100% of what was shown has another user_age than all before"
        in notes
    )


def test_who_rates_is_told(served_log) -> None:
    predictions, feedback = served_log(answers=6000)
    solo = predictions.set_index("request_id")["features"].str.contains("solo")
    kept = feedback[feedback["request_id"].map(solo) | (np.arange(len(feedback)) % 5 == 0)]
    (note,) = [note for note in report((predictions, kept)).notes if "were rated" in note]
    assert note.endswith("who rated differs in user_segment")


def test_a_log_without_feedback_and_no_log_at_all_are_normal(served_log) -> None:
    predictions, feedback = served_log(answers=200)
    silent = report((predictions, feedback.iloc[:0]))
    assert silent.alarms == [] and silent.awaited == 200
    nothing = report((predictions.iloc[:0], feedback.iloc[:0]))
    assert str(nothing) == "no answer is logged: nothing is known of performance"
    assert nothing.table.empty and list(nothing.table) == list(COLUMNS)


def test_rentals_that_were_rented_later_are_labels_of_their_own(served_log) -> None:
    predictions, feedback = served_log(answers=500)
    rented = predictions.iloc[::5]
    ratings = pd.DataFrame(
        {
            "user_id": rented["user_id"],
            "rental_id": "r2",
            "rating": 5.0,
            "event_timestamp": rented["timestamp"] + pd.Timedelta(minutes=5),
        }
    )
    found = measure(predictions, feedback.iloc[:0], ratings, END, "3", FEATURES, SETTINGS)
    renters = found.table[
        (found.table["metric"] == "ndcg_at_10_of_renters") & (found.table["segment"] == "all")
    ]
    assert renters["count"].sum() >= 95
    assert renters["value"].to_numpy() == pytest.approx(1 / np.log2(3))
