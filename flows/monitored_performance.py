"""What the monitoring flow reads of the log: how good the champion is, and whether what it serves moved."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from feature_repo import lake
from feature_repo.names import ALL_TIME, RECOMMENDER_USER_FEATURES
from monitoring.drift_report import DriftReport
from monitoring.performance_report import PerformanceReport
from monitoring.served_roles import ServedFeatures
from monitoring.settings import MonitoringSettings

OF_REQUEST = ("purpose", "size")

COMPARED = (
    *(
        feature.name
        for feature in RECOMMENDER_USER_FEATURES
        if feature.kind in ("numeric", "categorical") and feature.validity != ALL_TIME
    ),
    *OF_REQUEST,
)
"""Features as served that can be compared over time: what counts all that ever was only rises, and what is
counted of a purpose is one value a day for everybody."""

FEATURES = ServedFeatures(("purpose", "user_segment"), "user_rentals_all", COMPARED)

MOST_ANSWERS = 20_000
"""Answers of a period, drawn at random, that are compared: enough for any drift worth an alarm."""


@dataclass(frozen=True)
class Served:
    """Whether features as served, scores and predicted ratings of a version moved since its first days.

    Attributes:
        report: None where it has not served long enough.
        words: the two periods, or why there is no report.
    """

    report: DriftReport | None
    words: str

    @property
    def drifted(self) -> list[str]:
        """Names of what moved."""
        return self.report.drifted if self.report else []

    def __str__(self) -> str:
        """The comparison in words."""
        return f"{self.words}\n{self.report.to_text()}" if self.report else self.words


def table_of(settings: MonitoringSettings) -> Path:
    """Where the figures of performance over time lie."""
    return settings.home / "monitoring" / "performance.parquet"


def measure(
    folder: Path, names: Sequence[str], now: pd.Timestamp, settings: MonitoringSettings
) -> PerformanceReport:
    """Judge all that was served by the log, and write the figures to ``table_of``.

    Args:
        folder: the lake, which holds the log.
        names: versions of the champion's weights, the one that serves first (``refreshing.same_weights``).
        now: until when the log was read.
        settings: thresholds.
    """
    from models.files import replacing
    from monitoring.performance_report import measure as measured
    from monitoring.prediction_log import read_feedback

    predictions = _answers(folder, names)
    ratings = _later_ratings(folder, predictions, now)
    report = measured(predictions, read_feedback(folder), ratings, now, names[0], FEATURES, settings)
    with replacing(table_of(settings)) as temporary:
        report.table.to_parquet(temporary, index=False)
    return report


def served_drift(folder: Path, names: Sequence[str], settings: MonitoringSettings) -> Served:
    """Compare the last days in which a version's weights served with their first ones."""
    from monitoring.served_drift import compare_served

    log, version = _answers(folder, names), names[0]
    log = log[log["ok"].astype(bool) & (log["model_version"] == version) & log["rental_ids"].map(len).gt(0)]
    days = pd.Timedelta(days=settings.served_days)
    if log.empty or log["timestamp"].max() - log["timestamp"].min() <= days:
        return Served(
            None, f"version {version} has not served for {settings.served_days} days: nothing to compare"
        )
    first_end = log["timestamp"].min() + days
    last_begin = max(first_end, log["timestamp"].max() - days)
    parts = log[log["timestamp"] < first_end], log[log["timestamp"] >= last_begin]
    reference, current = (part.sample(min(len(part), MOST_ANSWERS), random_state=0) for part in parts)
    words = (
        f"what version {version} served from {last_begin:%Y-%m-%d} to {log['timestamp'].max():%Y-%m-%d}, "
        f"against its first days, until {first_end:%Y-%m-%d}"
    )
    return Served(compare_served(reference, current, settings, COMPARED), words)


def _answers(folder: Path, names: Sequence[str]) -> pd.DataFrame:
    """Read the log; what was served by other versions of the same weights counts as of the first one."""
    from monitoring.prediction_log import read_predictions

    log = read_predictions(folder)
    return log.assign(model_version=log["model_version"].replace(dict.fromkeys(names, names[0])))


def _later_ratings(folder: Path, predictions: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame | None:
    """Ratings known by now of rentals since the first answer; None where there are none."""
    if predictions.empty:
        return None
    ratings = lake.read(folder, "ratings", now)
    later = ratings[ratings["event_timestamp"] > predictions["timestamp"].min()]
    return None if later.empty else later
