"""What was answered lately, read from the files of the prediction log."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from monitoring.log_files import LogFileError
from monitoring.prediction_log import Prediction, PredictionLog
from monitoring.traffic import by_minute, find, latest

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def answer(number: int, seconds: float, predictor: str = "v3", ok: bool = True, ms: float = 10) -> Prediction:
    return Prediction(
        request_id=f"q{number}",
        user_id=f"u{number}",
        model_name="m",
        model_version=predictor[1:],
        predictor=predictor,
        ok=ok,
        features={"user_age": 30.5},
        rental_ids=["r1"] if ok else [],
        scores=[1.0] if ok else [],
        predicted_ratings=[4.5] if ok else [],
        latency_ms=ms,
        timestamp=NOON + timedelta(seconds=seconds),
    )


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., Path]:
    def write(*answers: Prediction) -> Path:
        # A file for each.
        for one in answers:
            with PredictionLog(tmp_path) as open_log:
                open_log.record(one)
        return tmp_path

    return write


def test_answers_are_counted_by_minute_and_predictor(log: Callable[..., Path]) -> None:
    folder = log(
        answer(1, -1),
        answer(2, 1, ms=10),
        answer(3, 2, ms=30),
        answer(4, 3, ok=False, ms=900),
        answer(5, 4, "v4", ok=False),
        answer(6, 61),
    )

    counted = by_minute(folder, NOON)

    minute = pd.Timestamp(NOON)
    assert counted[["minute", "predictor", "requests", "failed"]].values.tolist() == [
        [minute, "v3", 3, 1],
        [minute, "v4", 1, 1],
        [minute + pd.Timedelta(minutes=1), "v3", 1, 0],
    ]
    assert counted["latency_p95_ms"].tolist()[0] == pytest.approx(29), "of proper answers alone"
    assert counted["latency_p95_ms"].isna().tolist() == [False, True, False]


def test_the_latest_answers_come_newest_first(log: Callable[..., Path]) -> None:
    folder = log(*(answer(number, number) for number in range(5)))

    assert latest(folder, 3)["request_id"].tolist() == ["q4", "q3", "q2"]
    assert len(latest(folder, 100)) == 5


def test_an_answer_is_found_by_its_id_with_all_that_was_served(log: Callable[..., Path]) -> None:
    folder = log(answer(1, 0), answer(2, 1, "v4"))

    found = find(folder, "q2")

    assert found is not None and found["predictor"] == "v4"
    assert (found["features"], found["rental_ids"]) == ('{"user_age": 30.5}', ["r1"])
    assert find(folder, "q") is None


def test_without_a_log_there_is_no_traffic(tmp_path: Path) -> None:
    assert by_minute(tmp_path, NOON).empty and latest(tmp_path, 3).empty and find(tmp_path, "q1") is None


def test_a_damaged_file_is_named(log: Callable[..., Path]) -> None:
    folder = log(answer(1, 0))
    (file,) = (folder / "predictions").glob("*/*.parquet")
    file.write_bytes(b"half a file")

    for read in (lambda: by_minute(folder, NOON), lambda: latest(folder, 1), lambda: find(folder, "q1")):
        with pytest.raises(LogFileError, match="move it away"):
            read()


def test_an_answer_of_before_a_column_has_it_as_none(log: Callable[..., Path]) -> None:
    folder = log(answer(1, 0))
    (path,) = folder.glob("predictions/*/*.parquet")
    old = pq.read_table(path).drop_columns(["predicted_ratings"])
    path.unlink()
    pq.write_table(old, path)

    found = find(folder, "q1")

    assert found is not None and found["predicted_ratings"] is None and found["rental_ids"] == ["r1"]
