"""Drift of what the log says was served."""

import numpy as np
import pandas as pd
import pytest

from monitoring.prediction_log import PredictionLog, read_predictions
from monitoring.served_drift import compare_served, served_rentals


@pytest.fixture
def logged(tmp_path, prediction):
    """Writes what was served to each of many users, and reads it as the log returns it."""

    def write(name: str, score: float, segment: str, users: int = 150) -> pd.DataFrame:
        rng = np.random.default_rng(len(name))
        with PredictionLog(tmp_path / name) as log:
            for user in range(users):
                scores = rng.normal(score, 1, 3).tolist()
                features = {"user_age": float(rng.normal(40, 9)), "user_segment": segment}
                log.record(prediction(f"{name} {user}", user_id=f"u{user}", scores=scores, features=features))
        return read_predictions(tmp_path / name)

    return write


def test_a_row_is_a_rental_that_was_recommended(logged) -> None:
    rentals = served_rentals(logged("first", 0.5, "solo", users=4))
    assert len(rentals) == 12
    assert set(rentals["predicted_rating"]) == {4.5, 4.0, 3.5}
    assert {"user_age", "user_segment", "score", "user_id", "timestamp"} <= set(rentals)


def test_scores_and_features_drift_by_name(logged) -> None:
    report = compare_served(logged("first", 0.0, "solo"), logged("second", 1.5, "family"))
    assert report.drifted == ["user_segment", "score"]
    assert {feature.name: feature.kind for feature in report.features} == {
        "user_age": "numeric",
        "user_segment": "categorical",
        "score": "numeric",
        "predicted_rating": "numeric",
    }


def test_the_same_again_is_no_drift(logged) -> None:
    assert compare_served(logged("first", 0.0, "solo"), logged("second", 0.0, "solo")).drifted == []


def test_what_one_user_was_shown_again_and_again_is_not_evidence_each_time(logged) -> None:
    first, second = logged("first", 0.0, "solo", users=40), logged("second", 1.5, "solo", users=40)
    few = [part.assign(user_id=[f"u{number % 8}" for number in range(40)]) for part in (first, second)]
    assert compare_served(first, second).drifted == ["score"]
    assert compare_served(*few).drifted == []


def test_a_log_without_rentals_is_refused(logged) -> None:
    first = logged("first", 0.0, "solo", users=3)
    with pytest.raises(ValueError, match="current data has no rows"):
        compare_served(first, first.iloc[:0])
