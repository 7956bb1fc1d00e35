"""The parts of the model's benchmark that measure training, on a small market."""

from datetime import timedelta

import pandas as pd
import pytest

from feature_repo import history, lake
from feature_repo.settings import FeatureSettings
from flows.benchmark_split import Split, SplitError, split_frames
from flows.training_benchmark import train_seconds, warm_start
from tests.flows.conftest import SIZES, UNTIL

AT = pd.Timestamp("2024-03-15", tz="UTC")


@pytest.fixture
def frames(data, registry, monkeypatch) -> Split:
    for name, value in SIZES.items():
        monkeypatch.setenv(f"RENTALS_{name.upper()}", str(value))
    days = [*pd.date_range(end=AT, periods=6, freq="7D")[:-1], *pd.date_range(AT, UNTIL, freq="D")]
    catalogues = pd.concat([data.latest.assign(snapshot_at=day) for day in days], ignore_index=True)
    before = data.events["event_timestamp"] < AT
    parts = (data.events[rows].reset_index(drop=True) for rows in (before, ~before))
    return Split(AT, *parts, catalogues)


def test_catalogues_of_weeks_are_seven_days_apart_and_meet_the_split(frames):
    days = frames.weekly_catalogues["snapshot_at"].drop_duplicates()
    assert set(days.diff().dropna()) == {timedelta(days=7)}
    assert AT in set(days)


@pytest.mark.slow
def test_a_warm_start_is_measured_over_whole_months_beside_a_training_anew(frames):
    entry = warm_start(frames)["warm_start"]
    assert entry["how"].startswith("2 months from 2024-04 on")
    assert len(entry["ndcg10_ratio_by_month"]) == 2
    # It makes a quarter of the passes; what it learns is near what a training anew learns.
    assert 0 < entry["ratio"] < 1
    assert entry["rmse_ratio"] == pytest.approx(1, abs=0.1)


def test_a_split_without_a_whole_month_after_it_is_refused(frames):
    late = Split(UNTIL - timedelta(days=20), frames.train, frames.test, frames.catalogues)
    with pytest.raises(SplitError, match="no whole month of ratings follows 2024-06-11: give an earlier"):
        warm_start(late)


@pytest.mark.slow
def test_training_is_measured_beside_spark_and_the_implicit_library(frames):
    measured = train_seconds(frames)
    entry = measured["train_seconds"]
    assert set(entry["baseline"]) == {"Spark ALS", "implicit ALS"}
    for name, seconds in entry["baseline"].items():
        assert entry["ratio"][name] == pytest.approx(entry["value"] / seconds)
    events = len(frames.train) * 4
    assert measured["samples_per_s"]["value"] == pytest.approx(events / entry["value"])


def test_a_split_outside_the_history_is_refused_before_anything_is_computed(tmp_path):
    settings = FeatureSettings(home=tmp_path)
    with pytest.raises(SplitError, match="of 2021-01-01 to 2023-12-31: give a --split between"):
        split_frames(settings, "", pd.Timestamp("2017-07-01", tz="UTC"))
    with pytest.raises(lake.LakeError, match="no features"):
        history.as_of(settings)
