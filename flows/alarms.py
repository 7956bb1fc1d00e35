"""What the monitoring flow found, as reasons for a training and as a file that others draw."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from flows.monitored_performance import Served
    from flows.monitoring_period import Periods
    from monitoring.drift_report import DriftReport
    from monitoring.performance_report import PerformanceReport


def alarms(report: "DriftReport", served: "Served", performance: "PerformanceReport") -> list[str]:
    """Return why to train again: of ratings, of what is served, of performance; empty where nothing is."""
    reasons = [f"drift in {', '.join(report.drifted)}"] if report.drifted else []
    if served.drifted:
        reasons.append(f"drift of what is served in {', '.join(served.drifted)}")
    return [*reasons, *(f"performance: {alarm}" for alarm in performance.alarms)]


def write_drift(
    path: Path, report: "DriftReport", compared: "Periods", served: "Served", reasons: list[str]
) -> None:
    """Write the comparisons of the latest run as JSON, whole or not at all.

    The keys are those of ``DriftReport.to_dict``, with ``measured_at``, ``periods`` (in words),
    ``distributions`` (``monitoring.report.distributions``), ``served`` (the same keys of what is served, its
    ``periods`` in words; null where it was not compared) and ``alarms``.
    """
    from monitoring.report import distributions
    from serving.files import replace_json

    document: dict[str, Any] = {
        "measured_at": pd.Timestamp.now("UTC").isoformat(timespec="seconds"),
        "periods": str(compared),
        **report.to_dict(),
        "distributions": distributions(report, compared.reference, compared.current),
        "served": served.report and {"periods": served.words, **served.report.to_dict()},
        "alarms": reasons,
    }
    replace_json(path, document)
