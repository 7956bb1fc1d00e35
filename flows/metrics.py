"""What the flows tell Prometheus, a function for each part; docs/metrics.md lists the names."""

from collections.abc import Mapping, Sequence

import pandas as pd
from prometheus_client.core import GaugeMetricFamily

from feature_repo.settings import FeatureSettings
from flows.settings import FlowSettings
from monitoring import quarantine
from monitoring.batch_metrics import publish
from monitoring.deterioration import Deterioration
from monitoring.drift_report import TOGETHER, DriftReport
from monitoring.settings import MonitoringSettings


def ingested(
    fates: Mapping[str, Mapping[str, int]], bad_shares: Mapping[str, float], settings: FeatureSettings
) -> None:
    """Tell what became of the rows of a batch.

    Args:
        fates: rows by table by what became of them: landed, repeated, quarantined; empty for a refused batch.
        bad_shares: bad rows over all rows of the batch, by table.
        settings: where the lake is.
    """
    found = MonitoringSettings(home=settings.home)
    rows = GaugeMetricFamily("rentals_ingest_rows", "Rows of the last batch", labels=("table", "fate"))
    for fate, counts in fates.items():
        for table, count in counts.items():
            rows.add_metric((table, fate), count)
    bad = _by("rentals_ingest_bad_ratio", "Bad rows over all of the last batch", "table", bad_shares)
    limit = GaugeMetricFamily(
        "rentals_ingest_bad_ratio_limit", "Above it a batch is refused", found.mostly_bad_share
    )
    publish("ingest", (rows, bad, limit), found)
    quarantined(settings)


def quarantined(settings: FeatureSettings) -> None:
    """Tell how many rows are in quarantine."""
    rows = quarantine.count(settings.lake / "quarantine")
    held = _by("rentals_quarantine_rows", "Rows in quarantine", "table", rows)
    publish("quarantine", [held], MonitoringSettings(home=settings.home))


def features(as_of: pd.Timestamp, rows: Mapping[str, int]) -> None:
    """Tell up to which time the online features know the world, and the rows of each view's history."""
    known = GaugeMetricFamily(
        "rentals_features_as_of_timestamp_seconds",
        "Time up to which ratings are in the online features",
        as_of.timestamp(),
    )
    publish("features", (known, _by("rentals_features_rows", "Rows of a view's history", "view", rows)))


def drift(report: DriftReport) -> None:
    """Tell the verdict on each feature of the monitoring flow."""
    rows = {"reference": report.reference_rows, "current": report.current_rows}
    moved = {one.name: float(one.drifted) for one in report.features}
    p_values = {one.name: one.adjusted_p_value for one in report.features}
    if report.joint:
        moved[TOGETHER], p_values[TOGETHER] = float(report.joint.drifted), report.joint.adjusted_p_value
    psi = {one.name: one.effects["psi"] for one in report.features if "psi" in one.effects}
    publish(
        "drift",
        (
            _by("rentals_drift_detected", "1 where a feature has drifted, else 0", "feature", moved),
            _by("rentals_drift_adjusted_p_value", "Of the test that decided", "feature", p_values),
            _by("rentals_drift_psi", "Population stability index", "feature", psi),
            _by("rentals_drift_rows", "Ratings that were compared", "period", rows),
        ),
    )


def performance(verdicts: Sequence[Deterioration]) -> None:
    """Tell the verdicts on the served version's performance."""
    families = []
    for name, text, value in (
        ("current", "Figure of the served version", lambda one: one.current),
        ("reference", "Figure of its first users", lambda one: one.reference),
        ("limit", "What the figure must not pass", lambda one: one.limit),
        ("alarm", "1 where the figure got worse, else 0", lambda one: float(one.alarm)),
    ):
        family = GaugeMetricFamily(f"rentals_performance_{name}", text, labels=("figure", "version"))
        for one in verdicts:
            family.add_metric((one.metric, one.version), value(one))
        families.append(family)
    publish("performance", families)


def retrainings(outcomes: Mapping[str, int], in_vain: int, stopped_at: float, settings: FlowSettings) -> None:
    """Tell how the trainings that drift started ended.

    Args:
        outcomes: trainings by outcome.
        in_vain: the last ones in a row that brought no new version.
        stopped_at: when a person stopped retraining (seconds since 1970), 0 where it is not stopped.
        settings: the home, and how many in vain are too many.
    """
    publish(
        "retraining",
        (
            _by("rentals_retrainings", "Trainings that drift started", "outcome", outcomes),
            GaugeMetricFamily(
                "rentals_retrainings_in_vain", "The last ones in a row without a new version", in_vain
            ),
            GaugeMetricFamily(
                "rentals_retrainings_in_vain_limit",
                "So many in vain after which nothing trains any more",
                settings.retrain_patience,
            ),
            GaugeMetricFamily(
                "rentals_retraining_stopped_timestamp_seconds",
                "When a person stopped retraining; 0 where it is not stopped",
                stopped_at,
            ),
        ),
        MonitoringSettings(home=settings.home),
    )


def _by(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=(label,))
    for key, value in values.items():
        family.add_metric((str(key),), value)
    return family
