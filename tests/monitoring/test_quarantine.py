"""Bad rows on disk."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monitoring import quarantine

BAD = pd.DataFrame(
    {
        "rating": pd.Series([None, "nine", {"a": 1}, np.float64(9)], dtype=object),
        "event_timestamp": pd.Timestamp("2020-01-01", tz="UTC"),
        "user_id": ["\ud800", "u", "u", "u"],
        "reason": ["absent", "no number", "no number", "off its scale"],
    }
)


def test_mixed_types_survive_the_round_trip(tmp_path: Path) -> None:
    quarantine.write(BAD, "ratings", "2020-01", tmp_path)
    kept = quarantine.read(tmp_path, "ratings")
    assert kept["rating"].tolist() == [None, "nine", {"a": 1}, 9.0]
    assert kept["user_id"].tolist() == BAD["user_id"].tolist()
    assert kept["event_timestamp"][0] == "2020-01-01 00:00:00+00:00"
    assert kept["reason"].tolist() == BAD["reason"].tolist()


def test_a_batch_written_again_counts_once(tmp_path: Path) -> None:
    quarantine.write(BAD, "ratings", "one", tmp_path)
    quarantine.write(BAD.iloc[:3], "ratings", "one", tmp_path)
    assert quarantine.write(BAD.iloc[2:4], "ratings", "two", tmp_path) == 1, "one of them is in batch one"
    quarantine.write(BAD.iloc[:1], "users", "one", tmp_path)
    assert quarantine.count(tmp_path) == {"ratings": 4, "users": 1}


def test_a_batch_that_was_repaired_leaves_no_file(tmp_path: Path) -> None:
    assert quarantine.write(BAD, "ratings", "one", tmp_path) == 4
    assert quarantine.write(BAD.iloc[:0], "ratings", "one", tmp_path) == 0
    assert not list(tmp_path.rglob("*.parquet"))
    assert quarantine.count(tmp_path) == {}


def test_nothing_is_left_of_the_temporary_file(tmp_path: Path) -> None:
    quarantine.write(BAD, "ratings", "one", tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["one.parquet"]


@pytest.mark.parametrize("batch", ["", "../one", "a/b", ".hidden", "x" * 200])
def test_a_batch_name_cannot_leave_the_folder(tmp_path: Path, batch: str) -> None:
    with pytest.raises(ValueError, match="does not do as a file name"):
        quarantine.write(BAD, "ratings", batch, tmp_path)


def test_rows_without_a_reason_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="reason"):
        quarantine.write(BAD.drop(columns="reason"), "ratings", "one", tmp_path)


def test_an_empty_quarantine_reads_as_empty(tmp_path: Path) -> None:
    assert quarantine.read(tmp_path, "ratings").empty


def test_reasons_are_counted_by_table_the_most_frequent_first(tmp_path: Path) -> None:
    quarantine.write(BAD, "ratings", "one", tmp_path)
    quarantine.write(BAD.iloc[:1], "users", "one", tmp_path)
    found = quarantine.reasons(tmp_path)
    assert list(found["ratings"].items()) == [("no number", 2), ("absent", 1), ("off its scale", 1)]
    assert found["users"] == {"absent": 1}
    assert quarantine.reasons(tmp_path / "none") == {}
