"""What the monitoring flow finds, as reasons to train or to refresh, and as a file that others draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from feature_repo import history
from feature_repo.settings import FeatureSettings
from flows.monitored_performance import Served, measure, served_drift
from flows.monitoring_period import NothingToCompareError, Periods, drift, periods
from monitoring.settings import MonitoringSettings

if TYPE_CHECKING:
    from models.registry import ModelVersion
    from monitoring.drift_report import DriftReport
    from monitoring.performance_report import PerformanceReport


@dataclass(frozen=True)
class Look:
    """What is known of the version that serves.

    Attributes:
        until: ratings that arrived before it count.
        performance: what became of its answers.
        served: whether features as served, scores and predicted ratings moved.
        compared: the ratings it was trained on, and those that came after.
        report: whether these moved.
        unlisted_share: share of the later ratings that are of rentals which its catalogue lacks.
        unlisted_limit: the share from which on the catalogue is to be refreshed.
    """

    until: pd.Timestamp
    performance: "PerformanceReport"
    served: Served
    compared: Periods
    report: "DriftReport"
    unlisted_share: float
    unlisted_limit: float

    @property
    def alarms(self) -> list[str]:
        """Why to train again, in words: of ratings, of what is served, of performance."""
        reasons = [f"drift in {', '.join(self.report.drifted)}"] if self.report.drifted else []
        if self.served.drifted:
            reasons.append(f"drift of what is served in {', '.join(self.served.drifted)}")
        return [*reasons, *(f"performance: {alarm}" for alarm in self.performance.alarms)]

    @property
    def outdated(self) -> str | None:
        """Why to refresh the catalogue, in words; None while it holds most of what people take."""
        if self.unlisted_share <= self.unlisted_limit:
            return None
        return f"{self.unlisted_share:.0%} of the new ratings are of rentals that the catalogue lacks"

    def __str__(self) -> str:
        """All of it, in words."""
        return "\n".join(str(each) for each in (self.performance, self.served, self.report.to_text()))


def try_look(
    champion: "ModelVersion | None",
    until: pd.Timestamp | None,
    features: FeatureSettings,
    monitoring: MonitoringSettings,
) -> tuple[Look | None, str]:
    """Judge the version that serves, which on the first days of a system cannot be.

    Args:
        champion: that version, None where there is none yet.
        until: ratings that arrived before it count; None takes the end of the features.
        features: where the lake and its log are.
        monitoring: thresholds, and where the figures are written.

    Returns:
        What was found and an empty text, or None and why nothing can be judged.

    Raises:
        LakeError: there are no features, or no rating of before the training.
    """
    from flows.gating import catalogue_of
    from flows.refreshing import same_weights

    if champion is None:
        return None, "there is no champion yet: nothing to judge"
    names, border = same_weights(champion), pd.Timestamp(champion.lineage["trained_until"], tz="UTC")
    until, now = until or history.as_of(features), pd.Timestamp.now("UTC")
    try:
        return look(names, border, catalogue_of(champion), until, now, features, monitoring), ""
    except NothingToCompareError as error:
        return None, str(error)


def look(
    names: Sequence[str],
    trained_until: pd.Timestamp,
    catalogue_of: pd.Timestamp,
    until: pd.Timestamp,
    now: pd.Timestamp,
    features: FeatureSettings,
    monitoring: MonitoringSettings,
) -> Look:
    """Judge a version by what became of its answers, and by what has moved since its training.

    Args:
        names: the versions of its weights in the prediction log, the one that serves first.
        trained_until: end of the ratings that it knew.
        catalogue_of: time of the catalogue that it serves.
        until: ratings that arrived before it count.
        now: until when the log was read.
        features: where the lake and its log are.
        monitoring: thresholds, and where the figures are written.

    Raises:
        NothingToCompareError: no rating has arrived since the training.
        LakeError: there is none of before it.
    """
    performance = measure(features.lake, names, now, monitoring)
    served = served_drift(features.lake, names, monitoring)
    compared = periods(features, trained_until, until)
    unlisted = compared.unlisted_share(catalogue_of)
    return Look(until, performance, served, compared, drift(compared), unlisted, monitoring.unlisted_share)


def drift_file(home: Path) -> Path:
    """Where the monitoring flow writes its last comparisons."""
    return home / "monitoring" / "drift.json"


def write_drift(path: Path, found: Look) -> None:
    """Write the comparisons of the latest run as JSON, whole or not at all.

    The keys are those of ``DriftReport.to_dict``, with ``measured_at``, ``periods`` (in words),
    ``distributions`` (``monitoring.report.distributions``), ``served`` (the same keys of what is served, its
    ``periods`` in words; null where it was not compared) and ``alarms``.
    """
    from monitoring.report import distributions
    from serving.files import replace_json

    document: dict[str, Any] = {
        "measured_at": pd.Timestamp.now("UTC").isoformat(timespec="seconds"),
        "periods": str(found.compared),
        **found.report.to_dict(),
        "distributions": distributions(found.report, found.compared.reference, found.compared.current),
        "served": found.served.report and {"periods": found.served.words, **found.served.report.to_dict()},
        "alarms": found.alarms,
    }
    replace_json(path, document)
