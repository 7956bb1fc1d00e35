"""Drift beside the season: a December is compared with earlier Decembers, not with a July.

What differs from the same season of earlier years is new only if the rows just before the current ones did
not differ so already: what has learnt from those has learnt of it. This is the difference in differences of
seasonal adjustment (Ghysels and Osborn, "The Econometric Analysis of Seasonal Time Series", 2001).
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from monitoring.distribution import Kind
from monitoring.drift import compare
from monitoring.drift_report import DriftReport, FeatureDrift
from monitoring.settings import MonitoringSettings

YEAR = pd.Timedelta(days=365.25)

TOLERANCE = pd.Timedelta(days=15)
"""Around the days of the current rows, which belong to the season as well: holidays move, and a short window
would find few rows."""


def compare_in_season(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    columns: dict[str, Kind],
    time: str,
    settings: MonitoringSettings | None = None,
    cluster: str | None = None,
) -> DriftReport:
    """Compare with the same season of earlier years, where the reference goes back so far.

    Where it does not, or the current rows are of a whole year, the whole reference is compared. A feature
    that was as different from its season in the window before, of the same length, has not drifted.

    Args:
        reference: what the model was trained on.
        current: what came after.
        columns: as for ``compare``.
        time: the column of both frames with the time of a row.
        settings: as for ``compare``.
        cluster: as for ``compare``.

    Raises:
        ValueError: as for ``compare``.
    """
    settings = settings or MonitoringSettings()
    begin, end = current[time].min(), current[time].max()
    season = same_season(reference, begin, end, time)
    report = compare(reference if season is None else season, current, columns, settings, cluster, time)
    if season is None or not report.drifted:
        return report
    earlier = begin - max(end - begin, TOLERANCE)
    before = reference[reference[time] >= earlier]
    season_before = same_season(reference[reference[time] < earlier], earlier, begin, time)
    if before.empty or season_before is None:
        return report
    known = compare(season_before, before, columns, settings, cluster)
    pairs = zip(report.features, known.features, strict=True)
    features = tuple(_unless_known(each, old, settings) for each, old in pairs)
    joint = report.joint
    if joint and known.joint and joint.effect - known.joint.effect <= settings.drift_energy:
        joint = replace(joint, drifted=False)
    return replace(report, features=features, joint=joint)


def same_season(rows: pd.DataFrame, begin: pd.Timestamp, end: pd.Timestamp, time: str) -> pd.DataFrame | None:
    """Return the rows of the same days of earlier years as ``begin`` to ``end``, and ``TOLERANCE`` around.

    None where the rows do not reach a year back, or the days are those of a whole year.
    """
    span = end - begin + 2 * TOLERANCE
    if rows.empty or span >= YEAR or rows[time].min() > begin - YEAR:
        return None
    # Days since the season began, whatever the year.
    since = (rows[time] - (begin - TOLERANCE)).to_numpy() % np.timedelta64(YEAR.to_timedelta64())
    earlier = rows[time] <= end + TOLERANCE - YEAR
    found = rows[(since <= span.to_timedelta64()) & earlier.to_numpy()]
    return None if found.empty else found


def _unless_known(feature: FeatureDrift, known: FeatureDrift, settings: MonitoringSettings) -> FeatureDrift:
    """The verdict, taken back where the window before had moved as far."""
    if not (feature.drifted and known.drifted):
        return feature
    limits = {
        "ks": settings.drift_ks,
        "psi": settings.drift_psi,
        "missing_current": settings.drift_missing_share,
    }
    name = {"kolmogorov-smirnov": "ks", "chi-square": "psi"}.get(feature.test or "", "missing_current")
    if feature.effects.get(name, 0.0) - known.effects.get(name, 0.0) > limits[name]:
        return feature
    return replace(
        feature, drifted=False, explanation=f"{feature.explanation}; as in the window before", change=None
    )
