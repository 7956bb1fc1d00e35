"""The figures of performance over time."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.labels import labelled
from monitoring.outcomes import Outcomes, outcomes
from monitoring.performance import COLUMNS, as_table, performance_table

BEGIN = pd.Timestamp("2026-01-05", tz="UTC")
MONTH = pd.Timedelta(days=30)


def judged(log: tuple[pd.DataFrame, pd.DataFrame], days: float, longest: pd.Timedelta = MONTH) -> Outcomes:
    found = labelled(*log, None, MONTH)
    now = BEGIN + pd.Timedelta(days=days)
    return outcomes(found, now, longest, ["user_segment"], "user_rentals_all")


@pytest.fixture(scope="module")
def table(served_log) -> pd.DataFrame:
    """Four weeks, the error doubles in the third one; labels take hours."""
    log = served_log(error=lambda day: np.where(day < 14, 0.4, 0.8))
    return performance_table(judged(log, 28), "week")


def of(table: pd.DataFrame, metric: str, segment: str = "all", estimated: bool = False) -> pd.DataFrame:
    rows = table[(table["metric"] == metric) & (table["segment"] == segment)]
    return rows[rows["estimated"] == estimated].set_index("period_start")


def test_the_table_has_its_columns_and_weeks_begin_on_monday(table) -> None:
    assert list(table) == list(COLUMNS)
    assert of(table, "rmse").index[0] == BEGIN
    assert (table["period_end"] - table["period_start"]).unique() == [pd.Timedelta(days=7)]
    assert as_table([]).dtypes.equals(table.dtypes)


def test_errors_are_told_by_week_with_intervals(table) -> None:
    rmse = of(table, "rmse")
    assert rmse["value"].to_numpy() == pytest.approx([0.4, 0.4, 0.8, 0.8], rel=0.1)
    assert (rmse["lower"] < rmse["value"]).all() and (rmse["value"] < rmse["upper"]).all()
    assert rmse["upper"].iloc[1] < rmse["lower"].iloc[2]
    error = of(table, "calibration_error")
    assert ((error["lower"] < 0.05) & (error["upper"] > -0.05)).all()


def test_known_users_and_segments_are_told_apart(table) -> None:
    assert set(table["segment"]) == {
        "all", "cold start", "known user", "user_segment: solo", "user_segment: family",
    }  # fmt: skip
    everybody, parts = (
        of(table, "reward_share"),
        [of(table, "reward_share", name) for name in ("cold start", "known user")],
    )
    assert (sum(part["count"] for part in parts) == everybody["count"]).all()


def test_versions_are_told_apart(served_log) -> None:
    predictions, feedback = served_log(answers=600)
    predictions.loc[predictions.index % 2 == 0, "model_version"] = "4"
    rows = of(performance_table(judged((predictions, feedback), 40), "month"), "reward_share")
    assert rows["model_version"].tolist() == ["3", "4", "3", "4"]
    assert rows["count"].sum() == 600


def test_an_answer_without_its_time_is_awaited_and_no_miss(served_log) -> None:
    log = served_log(delay_days=2.0)
    found = judged(log, 28)
    assert found.horizon == pd.Timedelta(days=7)
    table = performance_table(found, "week")
    full = performance_table(judged(served_log(delay_days=0.01), 40), "week")
    truth = of(full, "reward_share")["value"].iloc[-1]
    # The last week has not had its time: only the estimate tells of it, and the naive share is far off.
    assert len(of(table, "reward_share")) == len(of(table, "rmse")) == 3
    estimate = of(table, "reward_share", estimated=True).iloc[-1]
    assert estimate["lower"] <= truth <= estimate["upper"]
    naive = found.answers.loc[found.answers["served_at"] >= BEGIN + pd.Timedelta(days=21), "liked"].mean()
    assert naive < 0.8 * estimate["value"]


def test_labels_that_come_after_the_horizon_help_no_old_answer(served_log) -> None:
    """Else the first weeks, whose late labels are all there, would look better than the last ones."""
    predictions, feedback = served_log(delay_days=4.0)
    found = judged((predictions, feedback), 28, pd.Timedelta(days=1))
    shares = of(performance_table(found, "week"), "rated_share")["value"]
    assert shares.to_numpy() == pytest.approx(0.5 * (1 - np.exp(-1 / 4)), rel=0.25)
    assert shares.iloc[-1] == pytest.approx(shares.iloc[0], rel=0.25)
    assert len(found.ratings) < len(feedback) / 2


def test_nothing_said_is_known_only_when_the_longest_horizon_has_passed(served_log) -> None:
    predictions, feedback = served_log(answers=100, users=50)
    silent = predictions, feedback.iloc[:0]
    assert performance_table(judged(silent, 29), "week").empty
    rewards = of(performance_table(judged(silent, 70), "week"), "reward_share")
    assert (rewards["value"] == 0).all() and (rewards["upper"] > 0).all()
    assert of(performance_table(judged(silent, 70), "week"), "rmse").empty


def test_an_empty_log_is_an_empty_table(served_log) -> None:
    predictions, feedback = served_log(answers=10)
    assert performance_table(judged((predictions.iloc[:0], feedback), 28), "day").empty


@settings(max_examples=5)
@given(order=st.permutations(range(60)))
def test_the_order_of_the_log_changes_nothing(served_log, order: list[int]) -> None:
    predictions, feedback = served_log(answers=60, users=20)
    shuffled = predictions.iloc[order], feedback.sample(frac=1, random_state=order[0])
    pd.testing.assert_frame_equal(
        performance_table(judged((predictions, feedback), 60), "week"),
        performance_table(judged(shuffled, 60), "week"),
    )
