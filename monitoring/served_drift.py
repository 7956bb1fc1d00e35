"""Whether what is served moved: features as they were served, scores and predicted ratings."""

from collections.abc import Iterable, Sequence

import pandas as pd

from monitoring.distribution import Kind
from monitoring.drift import compare
from monitoring.drift_report import DriftReport
from monitoring.prediction_log import served_features
from monitoring.settings import MonitoringSettings

PREDICTED: dict[str, Kind] = {"score": "numeric", "predicted_rating": "numeric"}
"""What the model said of each rental."""


def compare_served(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    settings: MonitoringSettings | None = None,
    features: Sequence[str] | None = None,
) -> DriftReport:
    """Compare two parts of the prediction log, such as that of the first week of a version with the last one.

    A row is a rental that was recommended; all that one user was shown counts as clustered. A feature is
    numeric if all its values are numbers, in both parts.

    Args:
        reference: as `read_predictions` returns it.
        current: the same.
        settings: thresholds; by default from the environment.
        features: the features to compare, of those that were served; None for all. One with a single value
            for everybody at a time, such as a count of the whole market, should not be among them: users are
            no evidence of how it moves.

    Raises:
        ValueError: there are no recommended rentals in one of them.
    """
    before, after = served_rentals(reference), served_rentals(current)
    served = [name for name in {**before, **after} if name not in {"user_id", "timestamp", *PREDICTED}]
    compared = kinds(before, after, [name for name in served if features is None or name in features])
    return compare(before, after, compared | PREDICTED, settings, cluster="user_id", time="timestamp")


def kinds(before: pd.DataFrame, after: pd.DataFrame, names: Iterable[str]) -> dict[str, Kind]:
    """Return whether each column is numeric, as it is if all its values are numbers, in both frames."""
    return {name: _kind(before, after, name) for name in names}


def served_rentals(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return a row per rental that was recommended.

    Returns:
        A frame with the columns ``user_id``, ``timestamp``, a column per feature as served, ``score`` and
        ``predicted_rating``; its index is the request_id.
    """
    frame = pd.concat([predictions[["user_id", "timestamp"]], served_features(predictions)], axis=1)
    frame["score"], frame["predicted_rating"] = predictions["scores"], predictions["predicted_ratings"]
    rentals = frame.set_index(predictions["request_id"]).explode(list(PREDICTED))
    return rentals.dropna(subset="score").astype(dict.fromkeys(PREDICTED, float))


def _kind(before: pd.DataFrame, after: pd.DataFrame, name: str) -> Kind:
    sides = [frame[name].dropna() for frame in (before, after) if name in frame]
    numeric = all(pd.api.types.is_numeric_dtype(side.infer_objects()) for side in sides)
    return "numeric" if numeric else "categorical"
