"""The log of what was served: written by threads and processes, read by polling."""

import logging
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from monitoring import log_files
from monitoring.log_files import LogFileError
from monitoring.prediction_log import (
    Feedback,
    PredictionLog,
    join_feedback,
    read_feedback,
    read_predictions,
    served_features,
)
from monitoring.settings import MonitoringSettings

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
CHECKOUT = Path(__file__).resolve().parents[2]


def rating(request_id: str, rental_id: str, value: float | None, seconds: int = 0) -> Feedback:
    return Feedback(request_id, "u1", rental_id, value, NOON + timedelta(seconds=seconds))


def test_what_is_recorded_is_read_back(tmp_path: Path, prediction) -> None:
    with PredictionLog(tmp_path) as log:
        log.record(
            prediction("one", NOON, features={"user_age": np.float32(31), "city": "x", "gone": np.nan})
        )
        log.feedback(rating("one", "r2", 5.0))
        log.flush()
        rows, said = read_predictions(tmp_path), read_feedback(tmp_path)
    assert rows["timestamp"].tolist() == [NOON]
    assert rows["rental_ids"][0].tolist() == ["r1", "r2", "r3"]
    assert rows["scores"][0].tolist() == [0.9, 0.5, 0.1]
    assert rows["ok"].tolist() == [True]
    assert served_features(rows).to_dict("records") == [{"user_age": 31.0, "city": "x", "gone": None}]
    assert said["rating"].tolist() == [5.0]


def test_a_log_that_was_never_written_reads_as_empty(tmp_path: Path) -> None:
    rows = read_predictions(tmp_path / "nowhere")
    assert rows.empty
    assert "predictor" in rows
    assert join_feedback(rows, read_feedback(tmp_path / "nowhere")).empty


def test_closing_writes_what_is_waiting(tmp_path: Path, prediction) -> None:
    log = PredictionLog(tmp_path)
    for i in range(100):
        log.record(prediction(f"r{i}"))
    log.close()
    log.close()
    assert len(read_predictions(tmp_path)) == 100
    with pytest.raises(RuntimeError, match="closed"):
        log.record(prediction("late"))


def test_many_entries_share_a_file(tmp_path: Path, prediction) -> None:
    with PredictionLog(tmp_path, MonitoringSettings(log_interval_seconds=60)) as log:
        for i in range(500):
            log.record(prediction(f"r{i}", NOON))
    assert len(list(tmp_path.rglob("*.parquet"))) == 1


def test_threads_record_at_once(tmp_path: Path, prediction) -> None:
    with PredictionLog(tmp_path) as log:
        threads = [
            threading.Thread(
                target=lambda who=who: [log.record(prediction(f"{who}-{i}")) for i in range(200)]
            )
            for who in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert read_predictions(tmp_path)["request_id"].nunique() == 800


def test_two_processes_write_into_one_folder(tmp_path: Path) -> None:
    program = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from monitoring.prediction_log import Feedback, PredictionLog
with PredictionLog(Path(sys.argv[1])) as log:
    for i in range(30):
        log.feedback(Feedback(f"{sys.argv[2]}-{i}", "u", "r", 5.0, datetime(2024, 5, 1, 12, tzinfo=UTC)))
        log.flush()
"""
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name], cwd=CHECKOUT) for name in "ab"
    ]
    while any(writer.poll() is None for writer in writers):
        read_feedback(tmp_path)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert read_feedback(tmp_path)["request_id"].nunique() == 60


def test_recording_waits_for_nothing_and_counts_what_it_drops(tmp_path: Path, prediction, caplog) -> None:
    settings = MonitoringSettings(log_capacity=10, log_interval_seconds=60)
    with caplog.at_level(logging.ERROR), PredictionLog(tmp_path, settings) as log:
        for i in range(25):
            log.record(prediction(f"r{i}"))
        assert log.dropped >= 5
    assert len(read_predictions(tmp_path)) == 25 - log.dropped
    assert len(caplog.records) == 1


def test_a_folder_that_cannot_be_written_costs_entries_but_no_request(
    tmp_path: Path, prediction, caplog
) -> None:
    (tmp_path / "predictions").write_text("a file where a folder belongs")
    with caplog.at_level(logging.ERROR), PredictionLog(tmp_path) as log:
        log.record(prediction("lost"))
        log.flush()
        log.feedback(rating("kept", "r1", 5.0))
    assert log.dropped == 1
    assert "cannot be written" in caplog.text
    assert len(read_feedback(tmp_path)) == 1


def test_an_entry_of_wrong_types_does_not_take_its_neighbours_along(tmp_path: Path, prediction) -> None:
    with PredictionLog(tmp_path, MonitoringSettings(log_interval_seconds=60)) as log:
        for i in range(9):
            log.record(prediction(f"r{i}", NOON, latency_ms="slow" if i == 4 else 1.0))
        log.flush()
    assert log.dropped == 1
    assert set(read_predictions(tmp_path)["request_id"]) == {f"r{i}" for i in range(9) if i != 4}


def test_readers_open_only_files_since_then(tmp_path: Path, prediction, monkeypatch) -> None:
    with PredictionLog(tmp_path) as log:
        for minute in range(-2000, 10):
            if minute % 500 == 0 or minute >= 0:
                log.record(prediction(f"m{minute}", NOON + timedelta(minutes=minute)))
                log.flush()
    opened: list[Path] = []
    real = log_files._read_file
    monkeypatch.setattr(log_files, "_read_file", lambda path: opened.append(path) or real(path))
    rows = read_predictions(tmp_path, since=NOON + timedelta(minutes=7))
    assert rows["request_id"].tolist() == ["m7", "m8", "m9"]
    assert len(opened) == 3


def test_since_cuts_inside_a_file(tmp_path: Path, prediction) -> None:
    with PredictionLog(tmp_path, MonitoringSettings(log_interval_seconds=60)) as log:
        for minute in range(4):
            log.record(prediction(f"m{minute}", NOON + timedelta(minutes=minute)))
    assert read_predictions(tmp_path, NOON + timedelta(minutes=2))["request_id"].tolist() == ["m2", "m3"]


def test_a_damaged_file_is_named(tmp_path: Path, prediction) -> None:
    with PredictionLog(tmp_path) as log:
        log.record(prediction("one"))
    (path,) = tmp_path.rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(LogFileError, match=path.name):
        read_predictions(tmp_path)


def test_times_without_a_zone_are_refused(tmp_path: Path, prediction) -> None:
    with pytest.raises(ValueError, match="time zone"):
        prediction("one", datetime(2024, 5, 1))
    with pytest.raises(ValueError, match="time zone"):
        Feedback("one", "u1", "r1", 5.0, datetime(2024, 5, 1))
    with pytest.raises(ValueError, match="time zone"):
        read_predictions(tmp_path, datetime(2024, 5, 1))


def test_lists_of_different_lengths_are_refused(prediction) -> None:
    with pytest.raises(ValueError, match="differ in length"):
        prediction("one", scores=[0.5])


@pytest.fixture
def joined(tmp_path: Path, prediction):
    """Feedback joined to one answer by v3 and a failed request by v4."""
    with PredictionLog(tmp_path) as log:
        log.record(prediction("one", NOON))
        log.record(
            prediction("two", NOON, predictor="v4", ok=False, rental_ids=[], scores=[], predicted_ratings=[])
        )
        for feedback in [
            rating("one", "r2", 3.0, seconds=2),
            rating("one", "r2", 5.0, seconds=9),
            rating("one", "r1", None, seconds=3),
            rating("one", "elsewhere", 2.0, seconds=4),
            rating("unknown", "r1", 1.0, seconds=5),
            rating("two", "r1", 1.0, seconds=6),
        ]:
            log.feedback(feedback)
    return join_feedback(read_predictions(tmp_path), read_feedback(tmp_path)).set_index(
        ["request_id", "rental_id"]
    )


def test_feedback_finds_its_answer_position_and_prediction(joined) -> None:
    row = joined.loc["one", "r1"]
    assert (row["predictor"], row["position"], row["predicted_rating"]) == ("v3", 0.0, 4.5)
    assert np.isnan(row["rating"])
    assert joined.loc[("two", "r1"), "predictor"] == "v4"


def test_repeated_feedback_counts_once_and_the_latest_holds(joined) -> None:
    assert len(joined) == 5
    assert joined.loc[("one", "r2"), "rating"] == 5.0


def test_feedback_that_was_sent_several_times_is_read_once(tmp_path: Path) -> None:
    with PredictionLog(tmp_path) as log:
        for value, second in ((3.0, 1), (3.0, 2), (5.0, 3), (None, 4), (None, 5), (3.0, 6)):
            log.feedback(rating("one", "r1", value, second))
    said = read_feedback(tmp_path)
    assert said["rating"].fillna(0).tolist() == [5, 0, 3]
    assert said["timestamp"].iloc[-1] == NOON + timedelta(seconds=6)


def test_feedback_that_fits_no_answer_keeps_its_row(joined) -> None:
    assert joined.loc[("unknown", "r1"), "predictor"] is np.nan
    assert joined.loc[("one", "elsewhere"), "predictor"] == "v3"
    assert np.isnan(joined.loc[("one", "elsewhere"), "position"])
