"""Served features beside recomputed ones, and the sample of requests; with the real store in tests/flows."""

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.prediction_log import PredictionLog, read_predictions
from monitoring.skew import FLOAT32_TOLERANCE, SkewError, compare, same, sample
from monitoring.skew_report import Example

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def served(*entries: dict[str, Any]) -> "pd.Series[Any]":
    return pd.Series(list(entries), index=[f"q{number}" for number in range(len(entries))], dtype=object)


def recomputed(**columns: list[Any]) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    return frame.set_index(pd.Index([f"q{number}" for number in range(len(frame))]))


def only(report):
    (feature,) = report.features
    return feature


def test_what_was_served_right_does_not_differ() -> None:
    report = compare(
        served({"age": 31.5, "segment": "solo"}, {"age": None, "segment": ""}),
        recomputed(age=np.array([31.5, math.nan], np.float32), segment=["solo", None]),
    )
    assert [feature.differing for feature in report.features] == [0, 0]
    assert [feature.compared for feature in report.features] == [2, 2]
    assert (report.differing_requests, report.differing_cells_share) == (0, 0.0)
    assert report.above(0.0) == []


def test_the_largest_differences_and_the_request_they_are_of_are_told() -> None:
    feature = only(
        compare(
            served({"price": 10.0}, {"price": 100.0}, {"price": 1.0}, {"price": 3.0}),
            recomputed(price=[10.0, 90.0, 2.0, 3.0]),
        )
    )
    assert feature.share == 0.5
    assert feature.largest_difference == 10.0
    assert feature.largest_relative_difference == 0.5
    assert feature.example == Example("q1", 100.0, 90.0)


@pytest.mark.parametrize("nothing", [None, math.nan, "", pd.NA, pd.NaT, np.float32("nan"), math.inf])
def test_missing_on_both_sides_is_equal_and_on_one_side_differs(nothing: Any) -> None:
    assert only(compare(served({"x": None}), recomputed(x=[nothing]))).differing == 0
    assert only(compare(served({"x": nothing}), recomputed(x=[None]))).differing == 0
    lost = only(compare(served({"x": nothing}), recomputed(x=[0.0])))
    assert (lost.differing, lost.served_missing, lost.recomputed_missing) == (1, 1, 0)
    invented = only(compare(served({"x": 0.0}), recomputed(x=[nothing])))
    assert (invented.differing, invented.served_missing, invented.recomputed_missing) == (1, 0, 1)
    assert invented.largest_difference is None
    assert invented.example == Example("q0", 0.0, None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3", 3.0),
        (True, 1.0),
        (1, True),
        ("True", True),
        ("a", "A"),
        ('["a","b"]', '["b","a"]'),
        ("{}", None),
    ],
)
def test_values_of_different_types_or_texts_differ(one: Any, other: Any) -> None:
    feature = only(compare(served({"x": one}), recomputed(x=pd.Series([other], dtype=object))))
    assert feature.differing == 1


@pytest.mark.parametrize("text", ["[]", '["ü","b"]', '{"14":1}'])
def test_lists_and_counts_are_compared_as_their_text(text: str) -> None:
    assert only(compare(served({"x": text}), recomputed(x=[text]))).differing == 0
    assert only(compare(served({"x": text}), recomputed(x=["other text"]))).differing == 1


def test_whole_numbers_are_numbers() -> None:
    assert only(compare(served({"x": 3}), recomputed(x=[3.0]))).differing == 0


def test_neighbouring_float32_numbers_are_the_same_and_a_millionth_is_not() -> None:
    value = np.float32(0.1)
    neighbour = np.nextafter(value, np.float32(1))
    assert only(compare(served({"x": float(value)}), recomputed(x=[neighbour]))).differing == 0
    assert only(compare(served({"x": 1.0}), recomputed(x=[1.000001]))).differing == 1
    assert only(compare(served({"x": 0.0}), recomputed(x=[1e-30]))).differing == 1


def test_the_largest_difference_is_a_number_that_json_takes() -> None:
    report = compare(served({"x": 1.7e308}), recomputed(x=[-1.7e308]))
    assert (
        json.loads(json.dumps(report.to_dict(), allow_nan=False))["features"][0]["largest_difference"] > 1e308
    )


def test_a_feature_which_an_entry_does_not_name_is_not_compared_there() -> None:
    report = compare(served({"x": 1.0}, {"x": 1.0, "y": 2.0}), recomputed(x=[1.0, 1.0], y=[2.0, 2.0]))
    assert [feature.compared for feature in report.features] == [2, 1]
    assert report.differing_requests == 0


def test_features_on_one_side_only_are_named() -> None:
    report = compare(served({"x": 1.0, "gone": 5.0}), recomputed(x=[1.0], new=[2.0]))
    assert (report.not_recomputed, report.not_served) == (("gone",), ("new",))
    text = report.to_text(0.0)
    assert "served, but not among the features: gone" in text
    assert "among the features, but never served: new" in text


def test_requests_are_matched_by_their_id_not_by_their_place() -> None:
    wanted = recomputed(x=[1.0, 2.0, 3.0]).iloc[[2, 0, 1]]
    assert compare(served({"x": 1.0}, {"x": 2.0}, {"x": 3.0}), wanted).differing_requests == 0


def test_the_threshold_is_a_share_that_is_still_tolerated() -> None:
    rows = 1000
    report = compare(
        served(*({"x": float(number == 0), "y": float(number < 2)} for number in range(rows))),
        recomputed(x=[0.0] * rows, y=[0.0] * rows),
    )
    assert report.above(0.001) == ["y"]
    assert report.above(0.0) == ["y", "x"]
    assert report.differing_requests == 2
    assert report.differing_cells_share == 3 / 2000


def test_the_table_shows_what_differs_first_and_counts_the_rest() -> None:
    report = compare(
        served({"same": 1.0, "little": 2.0, "much": 0.0}, {"same": 1.0, "little": 1.0, "much": 0.0}),
        recomputed(same=[1.0, 1.0], little=[1.0, 1.0], much=[None, None]),
    )
    lines = report.to_text(0.5).splitlines()
    assert lines[0] == "100.00% of 2 requests differ, 50.000% of 6 values"
    assert lines[1].split()[:3] == ["SKEW", "much", "100.00%"]
    assert "2 served without there being a value; request q0: served 0, recomputed nothing" in lines[1]
    assert lines[2].split()[:3] == ["some", "little", "50.00%"]
    assert "by at most 1 (50.00%); request q0: served 2, recomputed 1" in lines[2]
    assert lines[3] == "features that are the same in every request: 1"


def test_no_requests_and_no_common_feature_are_errors_with_the_remedy() -> None:
    with pytest.raises(SkewError, match="make up"):
        compare(pd.Series(dtype=object), pd.DataFrame({"x": []}))
    with pytest.raises(SkewError, match=r"\(old, older\) exists any more: .*make train"):
        compare(served({"old": 1.0, "older": 2.0}), recomputed(new=[1.0]))


def test_frames_of_different_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="not of the same requests"):
        compare(served({"x": 1.0}, {"x": 1.0}), recomputed(x=[1.0]))
    with pytest.raises(ValueError, match="not of the same requests"):
        compare(served({"x": 1.0}), recomputed(x=[1.0, 2.0]).iloc[1:])
    with pytest.raises(ValueError, match="stands twice"):
        compare(served({"x": 1.0}, {"x": 1.0}).set_axis(["q0", "q0"]), recomputed(x=[1.0, 1.0]))


CELLS = st.one_of(
    st.none(),
    st.just(""),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from(
        [1.0, 1.0 + 2**-23, 1.0 + 2**-21, -1.0, 0.0, -0.0, 1e-45, 3.4e38, -3.4e38, 1.7e308, -1.7e308]
    ),
    st.floats(width=32),
    st.text(max_size=3),
)
ENTRIES = st.lists(st.tuples(st.dictionaries(st.sampled_from("abcz"), CELLS), st.tuples(CELLS, CELLS, CELLS)))


def naive(entries) -> dict[str, Any]:
    """The comparison written down row by row, with the tolerance as a fraction of the larger number."""
    features: dict[str, Any] = {}
    for number, (entry, (a, b, c)) in enumerate(entries):
        for name, wanted in {"a": a, "b": b, "c": c}.items():
            if name not in entry:
                continue
            counts = features.setdefault(name, {"compared": 0, "requests": set(), "largest": []})
            counts["compared"] += 1
            pair = []
            for value in (entry[name], wanted):
                missing = (
                    value is None or value == "" or (isinstance(value, float) and not math.isfinite(value))
                )
                pair.append(None if missing else value)
            numbers = [value for value in pair if type(value) in (int, float)]
            if len(numbers) == 2:
                bound = FLOAT32_TOLERANCE * max(abs(numbers[0]), abs(numbers[1]))
                if abs(numbers[0] / 2 - numbers[1] / 2) > bound / 2:
                    counts["requests"].add(number)
                    counts["largest"].append(abs(numbers[0] - numbers[1]))
            elif pair != [None, None] and (type(pair[0]) is not type(pair[1]) or pair[0] != pair[1]):
                counts["requests"].add(number)
    return features


@given(entries=ENTRIES)
def test_every_comparison_is_that_of_a_naive_one(entries) -> None:
    log = served(*(json.loads(json.dumps(entry)) for entry, _ in entries))
    columns = [pd.Series([cells[place] for _, cells in entries], dtype=object) for place in range(3)]
    frame = recomputed(**dict(zip("abc", columns, strict=True)))
    expected = naive(entries)
    if not expected:
        with pytest.raises(SkewError):
            compare(log, frame)
        return
    report = compare(log, frame)
    assert {feature.name for feature in report.features} == set(expected)
    for feature in report.features:
        counts = expected[feature.name]
        assert (feature.compared, feature.differing) == (counts["compared"], len(counts["requests"]))
        if counts["largest"]:
            assert feature.largest_difference == min(max(counts["largest"]), np.finfo(float).max)
            assert feature.example and feature.example.request_id[1:].isdigit()
            assert int(feature.example.request_id[1:]) in counts["requests"]
        else:
            assert feature.largest_difference is None
    different = set().union(*(counts["requests"] for counts in expected.values()))
    assert report.differing_requests == len(different)
    rows = frame.to_dict("index")
    assert {key for key in log.index if not same(log[key], rows[key])} == {
        f"q{number}" for number in different
    }
    json.dumps(report.to_dict(), allow_nan=False)
    assert report.to_text(0.001)


def logged(folder: Path, prediction, entries: list[tuple[str, str, datetime, str | None]]) -> pd.DataFrame:
    with PredictionLog(folder) as log:
        for request_id, user_id, time, failure in entries:
            log.record(prediction(request_id, time, user_id=user_id, features_failure=failure))
    return read_predictions(folder)


def test_a_user_who_asks_ten_thousand_times_is_one_user(tmp_path: Path, prediction) -> None:
    entries = [(f"loud{number}", "loud", NOON, None) for number in range(10_000)]
    entries += [(f"quiet{number}", f"u{number}", NOON, None) for number in range(50)]
    predictions = logged(tmp_path, prediction, entries)
    drawn = sample(predictions, 60).requests
    assert (drawn["user_id"] == "loud").sum() == 10
    assert drawn["user_id"].nunique() == 51
    assert (sample(predictions, 20).requests["user_id"].value_counts() == 1).all()


def test_the_whole_log_is_drawn_from_and_the_same_log_gives_the_same_sample(
    tmp_path: Path, prediction
) -> None:
    entries = [
        (f"q{number}", f"u{number % 40}", NOON + timedelta(days=number), None) for number in range(2000)
    ]
    predictions = logged(tmp_path, prediction, entries)
    drawn = sample(predictions, 100).requests
    days = (drawn["timestamp"] - NOON).dt.days
    assert days.min() < 400 and days.max() > 1600
    assert 700 < days.mean() < 1300
    again = sample(predictions.sample(frac=1, random_state=9), 100).requests
    assert again["request_id"].tolist() == drawn["request_id"].tolist()
    assert sample(predictions, 100, seed=1).requests["request_id"].tolist() != drawn["request_id"].tolist()


def test_attempts_of_one_request_are_one_and_requests_without_features_are_counted_apart(
    tmp_path: Path, prediction
) -> None:
    later = NOON + timedelta(seconds=1)
    entries = [
        ("twice", "u1", later, None),
        ("twice", "u1", NOON, None),
        ("away", "u2", NOON, "the store is away"),
    ]
    drawn = sample(logged(tmp_path, prediction, entries), 10)
    assert drawn.requests["request_id"].tolist() == ["twice"]
    assert drawn.requests["timestamp"].tolist() == [NOON]
    assert (drawn.logged, drawn.without_features) == (2, 1)


def test_a_log_without_requests_or_without_features_is_an_error_with_the_remedy(
    tmp_path: Path, prediction
) -> None:
    with pytest.raises(SkewError, match="no predictions are logged: serve a model"):
        sample(read_predictions(tmp_path), 10)
    predictions = logged(tmp_path, prediction, [("away", "u2", NOON, "the store is away")])
    with pytest.raises(SkewError, match=r"because the store is away: .*make features"):
        sample(predictions, 10)


def test_a_log_written_before_failures_were_logged_counts_as_answered(tmp_path: Path, prediction) -> None:
    logged(tmp_path, prediction, [("old", "u1", NOON, None)])
    (path,) = tmp_path.rglob("*.parquet")
    old: pa.Table = pq.ParquetFile(path).read().drop_columns(["features_failure"])
    path.unlink()
    pq.write_table(old, path.with_name(path.name.replace(".parquet", "0.parquet")))
    assert sample(read_predictions(tmp_path), 10).requests["request_id"].tolist() == ["old"]
    entries = [("new", "u1", NOON, None), ("away", "u2", NOON, "the store is away")]
    drawn = sample(logged(tmp_path, prediction, entries), 10)
    assert (set(drawn.requests["request_id"]), drawn.without_features) == ({"old", "new"}, 1)
