"""Which features of the data in use have moved away from the data the model was trained on."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd

from monitoring import effective_size, two_sample
from monitoring.change_point import change_point, steps
from monitoring.distribution import Kind
from monitoring.drift_report import DriftReport, FeatureDrift, JointDrift
from monitoring.feature_comparison import FAMILIES, Comparison, Sample, Test, compare_feature
from monitoring.joint import energy_test
from monitoring.novelty import new_rows
from monitoring.settings import MonitoringSettings


def compare(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    columns: dict[str, Kind],
    settings: MonitoringSettings | None = None,
    cluster: str | None = None,
    time: str | None = None,
) -> DriftReport:
    """Compare features of two frames, a row an observation.

    A feature has drifted when a test stays significant after correction for all tests made *and* its effect
    exceeds the threshold in ``settings``. A column that only one frame has counts as missing in the other.

    Args:
        reference: what the model was trained on.
        current: what came after.
        columns: the features to compare, by kind.
        settings: thresholds; by default from the environment.
        cluster: a column of both frames whose rows belong together, such as ``user_id`` or, for rows that
            depend on those shortly before them, the week: p-values then count what the rows are worth,
            effects remain those of all rows.
        time: a column of both frames by which to tell since when a feature that drifted has changed.

    Raises:
        ValueError: a frame or the list of columns is empty, a column is in neither frame, a numeric column
            holds text, or the cluster or time column is missing.
    """
    settings = settings or MonitoringSettings()
    _check(reference, current, columns, {"cluster": cluster, "time": time})
    before, after = (Sample(frame, _clusters(frame, cluster)) for frame in (reference, current))
    # NumPy and pandas let other threads run while they count.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        comparisons = list(
            pool.map(lambda name: compare_feature(name, columns[name], before, after, settings), columns)
        )
    features = verdicts(comparisons, settings)
    if time is not None and any(each.drifted for each in features):
        at = steps(reference[time], current[time])
        features = [
            replace(each, change=change_point(of.bins, at)) if each.drifted else each
            for each, of in zip(features, comparisons, strict=True)
        ]
    joint = _joint(comparisons, before, after, settings)
    new = new_rows(comparisons, after, joint.least_like if joint and joint.drifted else ())
    return DriftReport(tuple(features), joint, new, len(reference), len(current))


def verdicts(comparisons: list[Comparison], settings: MonitoringSettings) -> list[FeatureDrift]:
    """Return which features drifted, among all that were compared."""
    p_values = [test.p_value for each in comparisons for test in each.tests]
    adjusted = iter(np.minimum(1, FAMILIES * two_sample.benjamini_hochberg(p_values)))
    return [
        _verdict(each, [(test, float(next(adjusted))) for test in each.tests], settings)
        for each in comparisons
    ]


def _check(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    columns: dict[str, Kind],
    further: dict[str, str | None],
) -> None:
    if not columns:
        raise ValueError("no columns to compare; pass {name: 'numeric' or 'categorical'}")
    for side, frame in {"reference": reference, "current": current}.items():
        if frame.empty:
            raise ValueError(f"the {side} data has no rows; check that its period and source hold data")
        for role, name in further.items():
            if name is not None and name not in frame:
                raise ValueError(f"the {side} data has no {role} column {name!r}; name one it has, or None")
    unknown = [name for name in columns if name not in reference and name not in current]
    if unknown:
        raise ValueError(f"columns {unknown} are in neither frame; check their spelling")


def _clusters(frame: pd.DataFrame, name: str | None) -> np.ndarray | None:
    """Return the cluster of each row as a number; a row without one is a cluster of its own."""
    if name is None:
        return None
    clusters, known = pd.factorize(frame[name])
    alone = clusters < 0
    clusters[alone] = len(known) + np.arange(np.count_nonzero(alone))
    return clusters


def _joint(
    comparisons: list[Comparison], reference: Sample, current: Sample, settings: MonitoringSettings
) -> JointDrift | None:
    worth = [
        len(each.frame) if each.clusters is None else effective_size.all_alike(each.clusters)
        for each in (reference, current)
    ]
    if min(worth) < settings.drift_minimum_rows:
        return None
    return energy_test(comparisons, reference, current, settings)


def _verdict(
    comparison: Comparison, tests: list[tuple[Test, float]], settings: MonitoringSettings
) -> FeatureDrift:
    name, kind, effects = comparison.name, comparison.kind, comparison.effects
    too_few = f"fewer than {settings.drift_minimum_rows} independent ones on one side"
    if not tests:
        return FeatureDrift(name, kind, None, 1.0, 1.0, effects, False, f"rows not judged: {too_few}")
    moved = [
        (test, adjusted)
        for test, adjusted in tests
        if adjusted < settings.drift_false_discovery_level and test.effect > test.threshold
    ]
    test, adjusted = moved[0] if moved else tests[0]
    says = "; ".join(each.says for each, _ in moved) or test.says
    if tests[0][0].name == "missing values":
        says += f"; values not judged: {too_few}"
    return FeatureDrift(name, kind, test.name, test.p_value, adjusted, effects, bool(moved), says)
