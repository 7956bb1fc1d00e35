"""Verdicts on features: on made data with known answers, and on Rent the Runway."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monitoring.drift import compare
from monitoring.drift_report import DriftReport, FeatureDrift
from monitoring.report import drift_chart
from monitoring.settings import MonitoringSettings

ROWS = 4000


def numbers(mean: float = 0.0, rows: int = ROWS, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, rows)


def labels(shares: dict[str, float], rows: int = ROWS, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).choice(list(shares), rows, p=list(shares.values()))


def verdict(reference: object, current: object, kind: str) -> FeatureDrift:
    """Compare a single feature."""
    report = compare(pd.DataFrame({"x": reference}), pd.DataFrame({"x": current}), {"x": kind})  # type: ignore[dict-item]
    return report.features[0]


def test_a_shifted_number_drifts() -> None:
    found = verdict(numbers(), numbers(0.5, seed=2), "numeric")
    assert found.drifted
    assert found.test == "kolmogorov-smirnov"
    assert found.effects["wasserstein"] == pytest.approx(0.5, abs=0.1)


def test_a_wider_spread_drifts_although_the_mean_stays() -> None:
    assert verdict(numbers(), 2 * numbers(seed=2), "numeric").drifted


def test_a_sure_but_small_shift_is_no_drift() -> None:
    found = verdict(numbers(rows=200_000), numbers(0.1, rows=200_000, seed=2), "numeric")
    assert found.adjusted_p_value < 1e-9
    assert not found.drifted


def test_a_large_but_unsure_shift_is_no_drift() -> None:
    found = verdict(numbers(rows=40), numbers(0.4, rows=40, seed=5), "numeric")
    assert found.effects["ks"] > 0.1
    assert not found.drifted


def test_another_mix_of_categories_drifts_and_names_the_largest_move() -> None:
    found = verdict(labels({"a": 0.6, "b": 0.4}), labels({"a": 0.2, "b": 0.8}), "categorical")
    assert found.drifted
    assert found.explanation.startswith("share of 'a' 61% -> 20%")


def test_an_unseen_category_drifts() -> None:
    found = verdict(labels({"a": 0.5, "b": 0.5}), labels({"a": 0.4, "b": 0.4, "new": 0.2}), "categorical")
    assert found.drifted
    assert np.isfinite(found.effects["psi"])


def test_a_handful_of_an_unseen_category_does_not() -> None:
    current = np.append(labels({"a": 0.5, "b": 0.5}, seed=2), ["new"] * 3)
    assert not verdict(labels({"a": 0.5, "b": 0.5}), current, "categorical").drifted


def test_values_that_go_missing_drift() -> None:
    current = np.where(np.random.default_rng(3).random(ROWS) < 0.3, np.nan, numbers(seed=2))
    found = verdict(numbers(), current, "numeric")
    assert found.drifted
    assert found.test == "missing values"
    assert "missing 0% -> 3" in found.explanation


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_constants(kind: str) -> None:
    assert not verdict([1.0] * ROWS, [1.0] * ROWS, kind).drifted
    assert verdict([1.0] * ROWS, [2.0] * ROWS, kind).drifted


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_columns_without_values(kind: str) -> None:
    nothing = pd.Series([None] * ROWS, dtype=object)
    assert not verdict(nothing, nothing, kind).drifted
    lost = verdict([1.0] * ROWS, nothing, kind)
    assert lost.drifted
    assert "missing 0% -> 100%" in lost.explanation
    assert "values not judged" in lost.explanation


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_a_column_only_one_frame_has_counts_as_missing_in_the_other(kind: str) -> None:
    report = compare(
        pd.DataFrame({"old": [1] * 500}),
        pd.DataFrame({"new": [1] * 500}),
        {"old": kind, "new": kind},  # type: ignore[dict-item]
    )
    assert report.drifted == ["old", "new"]


def test_infinite_numbers_count_as_missing() -> None:
    found = verdict(numbers(), np.where(np.arange(ROWS) % 2, np.inf, numbers(seed=2)), "numeric")
    assert found.effects["missing_current"] == 0.5


def test_too_few_rows_are_not_judged() -> None:
    found = verdict([1.0] * 10, [9.0] * 10, "numeric")
    assert not found.drifted
    assert found.test is None
    assert "fewer than 30" in found.explanation


def test_rows_of_one_user_are_not_evidence_many_times_over() -> None:
    rng = np.random.default_rng(4)

    def period(favourites: np.ndarray) -> pd.DataFrame:
        users = np.repeat(np.arange(len(favourites)), 100)
        return pd.DataFrame({"user": users, "x": favourites[users]})

    # A hundred rows each of forty users: the means differ by chance, and 4000 rows make it look sure.
    before, after = period(rng.normal(0, 1, 40)), period(rng.normal(0, 1, 40))
    assert compare(before, after, {"x": "numeric"}).drifted == ["x"]
    assert compare(before, after, {"x": "numeric"}, cluster="user").drifted == []


def test_labels_of_rows_mean_nothing() -> None:
    frame = pd.DataFrame({"user": np.arange(400) // 4, "x": numbers(rows=400)})
    relabelled = frame.set_index(np.where(frame["user"] < 10, 0, np.arange(400)))
    columns: dict = {"x": "numeric"}
    moved = frame.assign(x=frame["x"] + 0.3)
    assert compare(relabelled, moved, columns, cluster="user") == compare(
        frame, moved, columns, cluster="user"
    )


def test_random_halves_raise_hardly_an_alarm_over_many_features() -> None:
    rng = np.random.default_rng(6)
    names = [f"f{i}" for i in range(200)]
    loose = MonitoringSettings(drift_ks=0, drift_missing_share=0, drift_false_discovery_level=0.05)
    frames = [pd.DataFrame(rng.normal(size=(300, 200)), columns=names) for _ in range(2)]
    assert len(compare(*frames, dict.fromkeys(names, "numeric"), loose).drifted) <= 1


@pytest.mark.parametrize(
    ("reference", "current", "columns", "cluster", "message"),
    [
        ({"x": [1]}, {"x": [1]}, {}, None, "no columns"),
        ({"x": []}, {"x": [1]}, {"x": "numeric"}, None, "reference data has no rows"),
        ({"x": [1]}, {"x": []}, {"x": "numeric"}, None, "current data has no rows"),
        ({"x": [1]}, {"x": [1]}, {"y": "numeric"}, None, r"\['y'\] are in neither"),
        ({"x": ["a"]}, {"x": [1]}, {"x": "numeric"}, None, "list it as 'categorical'"),
        ({"x": [1]}, {"x": [1]}, {"x": "numeric"}, "user", "no cluster column 'user'"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_remedy(
    reference: dict, current: dict, columns: dict, cluster: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compare(pd.DataFrame(reference), pd.DataFrame(current), columns, cluster=cluster)


@pytest.fixture(scope="module")
def mixed() -> tuple[pd.DataFrame, pd.DataFrame, DriftReport]:
    """A report on one drifted feature of three, and its frames."""
    mix = {"a": 0.6, "b": 0.4}
    before = pd.DataFrame({"calm": numbers(), "moved": labels(mix), "many": np.arange(ROWS).astype(str)})
    after = pd.DataFrame({"calm": numbers(seed=2), "moved": labels({"b": 1.0}), "many": before["many"]})
    return (
        before,
        after,
        compare(before, after, {"calm": "numeric", "moved": "categorical", "many": "categorical"}),
    )


def test_the_report_is_plain_values_and_a_table(mixed: tuple) -> None:
    report = mixed[2]
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["drifted"] == ["moved"]
    assert [feature["name"] for feature in plain["features"]] == ["calm", "moved", "many"]
    assert report.to_text().splitlines()[1].startswith("DRIFT  moved")


def test_extreme_numbers_leave_a_report_of_plain_values() -> None:
    extreme = np.tile([1e308, -1e308, 5e-324, np.inf], 25)
    report = compare(pd.DataFrame({"x": extreme}), pd.DataFrame({"x": numbers(rows=100)}), {"x": "numeric"})
    json.dumps(report.to_dict(), allow_nan=False)
    assert report.drifted == ["x"]


def test_what_drifted_is_dated_and_what_did_not_is_not() -> None:
    days = pd.Series(pd.date_range("2020-01-01", periods=2 * ROWS, freq="h"))
    frame = pd.DataFrame(
        {"calm": numbers(rows=2 * ROWS), "moved": numbers(rows=2 * ROWS, seed=2), "day": days}
    )
    frame.loc[ROWS + 1000 :, "moved"] += 2
    columns: dict = {"calm": "numeric", "moved": "numeric"}
    report = compare(frame[:ROWS], frame[ROWS:], columns, time="day")
    calm, moved = report.features
    assert calm.change is None
    assert moved.change is not None
    assert abs(moved.change.since - days[ROWS + 1000]) < pd.Timedelta(days=7)
    assert json.loads(json.dumps(report.to_dict()))["features"][1]["change"]["since"].startswith("2020-")
    assert f"since {moved.change.since:%Y-%m-%d}" in report.to_text()


def test_the_chart_shows_both_distributions_of_what_drifted(mixed: tuple) -> None:
    before, after, report = mixed
    chart = drift_chart(report, before, after)
    assert len(chart["vconcat"]) == 1
    (rows,) = chart["datasets"].values()
    shares = {(row["sample"], row["bin"]): row["share"] for row in rows}
    assert shares["current", "b"] == 1
    assert shares["reference", "a"] == pytest.approx(0.6, abs=0.05)


def test_rent_the_runway_drifts_where_it_is_known_to(shared: Path) -> None:
    path = shared / "data" / "rent_the_runway" / "renttherunway_final_data.json.gz"
    frame = pd.read_json(path, lines=True, dtype={"user_id": str})
    year = pd.to_datetime(frame["review_date"]).dt.year
    frame["rating"] = pd.to_numeric(frame["rating"])
    columns = {
        "rented for": "categorical",
        "category": "categorical",
        "rating": "numeric",
        "fit": "categorical",
    }
    frame["date"] = pd.to_datetime(frame["review_date"])
    report = compare(frame[year < 2016], frame[year == 2016], columns, cluster="user_id", time="date")  # type: ignore[arg-type]
    assert report.drifted == ["rented for", "category"]
    psi = {feature.name: feature.effects["psi"] for feature in report.features}
    assert psi["rented for"] == pytest.approx(0.61, abs=0.03)
    assert psi["category"] == pytest.approx(0.32, abs=0.03)
    change = report.features[0].change
    assert change is not None
    assert abs(change.since - pd.Timestamp("2016-01-01")) < pd.Timedelta(days=30)

    shuffled = np.random.default_rng(0).permutation(len(frame))
    halves = compare(frame.iloc[shuffled[::2]], frame.iloc[shuffled[1::2]], columns, cluster="user_id")  # type: ignore[arg-type]
    assert halves.drifted == []
    assert max(feature.effects["psi"] for feature in halves.features) <= 0.0011
