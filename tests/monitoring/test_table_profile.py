"""A table of features profiled by Spark: one action, each row read once."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from monitoring.table_profile import profile

pytestmark = pytest.mark.slow

BORDER = datetime(2024, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Of three users over four days; the last two rows are one, and half of the values are missing late."""
    return pd.DataFrame(
        {
            "user_id": ["a", "b", "c", "a", "a"],
            "event_timestamp": pd.to_datetime([1, 1, 2, 4, 4], unit="D", origin="2023-12-31", utc=True),
            "rentals": [0.0, 1.0, 2.0, 3.0, 3.0],
            "mean": [4.0, None, 2.0, None, 5.0],
            "segment": ["solo", None, None, None, None],
        }
    )


@pytest.fixture(scope="module")
def frame(spark: Any, rows: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("features")
    rows.astype({"event_timestamp": "datetime64[us, UTC]"}).to_parquet(folder / "part.parquet", index=False)
    return spark.read.parquet(str(folder))


def test_what_is_known_and_how_large_it_is(frame: Any) -> None:
    found = profile(frame, "user_id", "event_timestamp", ["rentals", "mean", "event_timestamp"])
    assert (found.rows, found.rows_lately, found.repeated) == (5, 5, 1)
    assert (found.columns["mean"].lowest, found.columns["mean"].highest) == (2.0, 5.0)
    assert found.share_known("mean") == 0.6
    assert found.share_known("segment") == 0.2
    assert found.columns["segment"].highest is None
    last = pd.Timestamp(found.columns["event_timestamp"].highest, unit="us", tz="UTC")
    assert last == pd.Timestamp("2024-01-04", tz="UTC")


def test_rows_of_late_are_told_apart(frame: Any) -> None:
    found = profile(frame, "user_id", "event_timestamp", [], since=BORDER)
    assert (found.rows, found.rows_lately) == (5, 2)
    assert found.share_known("mean") == 0.5
    assert found.share_known("segment") == 0.0
    assert found.columns["segment"].known == 1


def test_an_empty_table_has_no_rows(frame: Any) -> None:
    found = profile(frame.where("1 = 0"), "user_id", "event_timestamp", ["rentals"])
    assert (found.rows, found.repeated, found.columns["rentals"].lowest) == (0, 0, None)
    assert found.share_known("rentals") == 1.0


def test_each_row_is_read_once(spark: Any, frame: Any) -> None:
    context = spark.sparkContext
    context.setJobGroup("profile", "one pass")
    try:
        profile(frame, "user_id", "event_timestamp", ["rentals", "mean", "event_timestamp"], since=BORDER)
    finally:
        context.setLocalProperty("spark.jobGroup.id", None)
    tracker, status = context.statusTracker(), context._jsc.sc().statusStore()
    jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup("profile")]
    stages = {stage for job in jobs for stage in job.stageIds}
    read = sum(status.lastStageAttempt(stage).inputRecords() for stage in stages)
    assert read == 5
