"""Which features of the data in use have moved away from the data the model was trained on."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from monitoring import two_sample
from monitoring.distribution import Kind, binned, present
from monitoring.drift_report import DriftReport, FeatureDrift, TestName
from monitoring.settings import MonitoringSettings


@dataclass(frozen=True)
class _Test:
    name: TestName
    p_value: float
    effect: float
    threshold: float
    says: str


def compare(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    columns: dict[str, Kind],
    settings: MonitoringSettings | None = None,
    cluster: str | None = None,
) -> DriftReport:
    """Compare features of two frames, a row an observation.

    A feature has drifted when a test stays significant after correction for all tests made *and* its effect
    exceeds the threshold in ``settings``. A column that only one frame has counts as missing in the other.

    Args:
        reference: what the model was trained on.
        current: what came after.
        columns: the features to compare, by kind.
        settings: thresholds; by default from the environment.
        cluster: a column of both frames whose rows belong together, such as ``user_id``: p-values then
            count what the rows are worth, effects remain those of all rows.

    Raises:
        ValueError: a frame or the list of columns is empty, a column is in neither frame, a numeric column
            holds text, or the cluster column is missing.
    """
    settings = settings or MonitoringSettings()
    _check(reference, current, columns, cluster)
    reference, current = reference.reset_index(drop=True), current.reset_index(drop=True)
    effects, tests = {}, {}
    for name, kind in columns.items():
        samples = _samples(reference, current, name, kind, cluster)
        counts = binned(samples[0].values, samples[1].values, kind)
        effects[name] = _effects(*samples, counts, kind)
        tests[name] = _tests(samples, counts, effects[name], settings)
    p_values = [test.p_value for of_feature in tests.values() for test in of_feature]
    adjusted = iter(two_sample.benjamini_hochberg(p_values))
    features = tuple(
        _verdict(name, kind, effects[name], [(test, float(next(adjusted))) for test in tests[name]], settings)
        for name, kind in columns.items()
    )
    return DriftReport(features, len(reference), len(current))


@dataclass(frozen=True)
class _Sample:
    values: pd.Series
    """The values present."""
    rows: int
    rows_worth: float
    """Rows, present or not, counted as independent ones."""
    values_worth: float

    @property
    def missing(self) -> int:
        return self.rows - len(self.values)


def _check(
    reference: pd.DataFrame, current: pd.DataFrame, columns: dict[str, Kind], cluster: str | None
) -> None:
    if not columns:
        raise ValueError("no columns to compare; pass {name: 'numeric' or 'categorical'}")
    for side, frame in {"reference": reference, "current": current}.items():
        if frame.empty:
            raise ValueError(f"the {side} data has no rows; check that its period and source hold data")
        if cluster is not None and cluster not in frame:
            raise ValueError(f"the {side} data has no cluster column {cluster!r}; name one it has, or None")
    unknown = [name for name in columns if name not in reference and name not in current]
    if unknown:
        raise ValueError(f"columns {unknown} are in neither frame; check their spelling")


def _samples(
    reference: pd.DataFrame, current: pd.DataFrame, name: str, kind: Kind, cluster: str | None
) -> tuple[_Sample, _Sample]:
    def sample(frame: pd.DataFrame) -> _Sample:
        values = present(frame, name, kind)
        if cluster is None:
            return _Sample(values, len(frame), float(len(frame)), float(len(values)))
        worth = two_sample.effective_size
        return _Sample(values, len(frame), worth(frame[cluster]), worth(frame.loc[values.index, cluster]))

    return sample(reference), sample(current)


def _effects(reference: _Sample, current: _Sample, counts: pd.DataFrame, kind: Kind) -> dict[str, float]:
    effects = {
        "missing_reference": reference.missing / reference.rows,
        "missing_current": current.missing / current.rows,
    }
    if len(reference.values) and len(current.values):
        effects["psi"] = two_sample.population_stability_index(counts)
        effects["jensen_shannon"] = two_sample.jensen_shannon(counts)
        if kind == "numeric":
            values = reference.values.to_numpy(), current.values.to_numpy()
            effects["ks"] = two_sample.kolmogorov_smirnov_distance(*values)
            effects["wasserstein"] = two_sample.wasserstein(*values)
    return effects


def _tests(
    samples: tuple[_Sample, _Sample],
    counts: pd.DataFrame,
    effects: dict[str, float],
    settings: MonitoringSettings,
) -> list[_Test]:
    """Return the tests that there is enough data for, that of the values first."""
    tests = []
    values_worth = (samples[0].values_worth, samples[1].values_worth)
    if min(values_worth) >= settings.drift_minimum_rows:
        if "ks" in effects:
            medians = [sample.values.median() for sample in samples]
            says = f"median {medians[0]:.4g} -> {medians[1]:.4g}, ks {effects['ks']:.2f}"
            p_value = two_sample.kolmogorov_smirnov_p_value(effects["ks"], values_worth)
            tests.append(_Test("kolmogorov-smirnov", p_value, effects["ks"], settings.drift_ks, says))
        else:
            says = f"{_largest_move(counts)}, psi {effects['psi']:.2f}"
            p_value = two_sample.chi_square_p_value(counts, values_worth)
            tests.append(_Test("chi-square", p_value, effects["psi"], settings.drift_psi, says))
    rows_worth = (samples[0].rows_worth, samples[1].rows_worth)
    if min(rows_worth) >= settings.drift_minimum_rows:
        shares = (effects["missing_reference"], effects["missing_current"])
        p_value = two_sample.missing_share_p_value(shares, rows_worth)
        says = f"missing {shares[0]:.0%} -> {shares[1]:.0%}"
        change = abs(shares[1] - shares[0])
        tests.append(_Test("missing values", p_value, change, settings.drift_missing_share, says))
    return tests


def _largest_move(counts: pd.DataFrame) -> str:
    portions = counts / counts.sum()
    moved = int(np.argmax((portions["current"] - portions["reference"]).abs()))
    before, after = portions.iloc[moved]
    return f"share of '{portions.index[moved]}' {before:.0%} -> {after:.0%}"


def _verdict(
    name: str,
    kind: Kind,
    effects: dict[str, float],
    tests: list[tuple[_Test, float]],
    settings: MonitoringSettings,
) -> FeatureDrift:
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
