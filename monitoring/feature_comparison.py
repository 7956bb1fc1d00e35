"""One feature in two samples: how far it moved, and what the tests say to it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from monitoring import effective_size, two_sample
from monitoring.distribution import Bins, Kind, binned, binned_numbers, numbers
from monitoring.drift_report import TestName
from monitoring.numeric_distance import distances
from monitoring.settings import MonitoringSettings

FAMILIES = 2
"""Families of tests between which the level is shared (Bonferroni): single features, and all together."""


@dataclass(frozen=True)
class Sample:
    """Rows, and the cluster (0, 1, …) of each where rows depend on each other."""

    frame: pd.DataFrame
    clusters: np.ndarray | None


@dataclass(frozen=True)
class Test:
    """A test's p-value before any correction, the effect, what it must exceed, and all that in words."""

    name: TestName
    p_value: float
    effect: float
    threshold: float
    says: str


@dataclass(frozen=True)
class Comparison:
    """A feature's bins, its distances by name as in `FeatureDrift`, and its tests, that of values first."""

    name: str
    kind: Kind
    bins: Bins
    effects: dict[str, float]
    tests: list[Test]


def compare_feature(
    name: str, kind: Kind, reference: Sample, current: Sample, settings: MonitoringSettings
) -> Comparison:
    """Compare a feature; a test for which there are too few independent rows is left out.

    Raises:
        ValueError: a numeric column holds something else.
    """
    samples = (reference, current)
    if kind == "numeric":
        values = [numbers(sample.frame, name) for sample in samples]
        bins = binned_numbers(*values)
    else:
        bins = binned(reference.frame, current.frame, name, kind)
    missing = [places < 0 for places in (bins.reference, bins.current)]
    effects, tests = {}, []
    if bins.counts.sum().min() > 0:
        effects = _effects(bins)
        if kind == "numeric":
            present = (
                each[~lost] if lost.any() else each for each, lost in zip(values, missing, strict=True)
            )
            effects |= _numeric_effects(*present)
        tests = _value_test(kind, bins, effects, samples, settings)
    effects["missing_reference"], effects["missing_current"] = (float(each.mean()) for each in missing)
    tests += _missing_test(missing, samples, settings)
    return Comparison(name, kind, bins, effects, tests)


def _effects(bins: Bins) -> dict[str, float]:
    current = bins.counts["current"].to_numpy()
    return {
        "psi": two_sample.population_stability_index(bins.counts),
        "jensen_shannon": two_sample.jensen_shannon(bins.counts),
        "unseen": float(current[bins.unseen].sum() / current.sum()),
    }


def _numeric_effects(reference: np.ndarray, current: np.ndarray) -> dict[str, float]:
    ks, wasserstein = distances(reference, current)
    with np.errstate(over="ignore", invalid="ignore"):
        # A constant reference has no spread; then that of both samples is the unit.
        unit = float(reference.std()) or float(np.concatenate([reference, current]).std())
        effects = {
            "ks": ks,
            "wasserstein": wasserstein / unit if unit else 0.0,
            "mean_reference": float(reference.mean()),
            "mean_current": float(current.mean()),
        }
    return {name: effect for name, effect in effects.items() if np.isfinite(effect)}


def _value_test(
    kind: Kind,
    bins: Bins,
    effects: dict[str, float],
    samples: tuple[Sample, Sample],
    settings: MonitoringSettings,
) -> list[Test]:
    places, clusters = [], []
    for of_bins, sample in zip((bins.reference, bins.current), samples, strict=True):
        present = of_bins >= 0
        places.append(of_bins[present])
        clusters.append(None if sample.clusters is None else sample.clusters[present])
    least = _least_worth(places, clusters)
    if min(least) < settings.drift_minimum_rows:
        return []
    if kind == "numeric":
        sizes = _worth(places, clusters, effective_size.of_distribution)
        p_value = two_sample.kolmogorov_smirnov_p_value(effects["ks"], sizes)
        means = (effects.get(f"mean_{side}", np.nan) for side in ("reference", "current"))
        says = f"mean {' -> '.join(f'{mean:.4g}' for mean in means)}, ks {effects['ks']:.2f}"
        return [Test("kolmogorov-smirnov", p_value, effects["ks"], settings.drift_ks, says)]
    common = two_sample.common_bins(bins.counts, least)
    table = np.array([np.bincount(common, weights=bins.counts[side]) for side in bins.counts])
    if clusters[0] is not None:
        places = [common[each] for each in places]
    sizes = _worth(places, clusters, effective_size.of_shares)
    p_value = two_sample.chi_square_p_value(table, sizes)
    says = f"{_largest_move(bins.counts)}, psi {effects['psi']:.2f}"
    return [Test("chi-square", p_value, effects["psi"], settings.drift_psi, says)]


def _missing_test(
    missing: list[np.ndarray], samples: tuple[Sample, Sample], settings: MonitoringSettings
) -> list[Test]:
    clusters = [sample.clusters for sample in samples]
    if min(_least_worth(missing, clusters)) < settings.drift_minimum_rows:
        return []
    table = np.array([[np.count_nonzero(~each), np.count_nonzero(each)] for each in missing])
    sizes = _worth([each.astype(int) for each in missing], clusters, effective_size.of_shares)
    shares = table[:, 1] / table.sum(axis=1)
    says = f"missing {shares[0]:.0%} -> {shares[1]:.0%}"
    p_value = two_sample.chi_square_p_value(table, sizes)
    return [
        Test("missing values", p_value, float(abs(np.diff(shares)[0])), settings.drift_missing_share, says)
    ]


def _worth(
    places: list[np.ndarray],
    clusters: list[np.ndarray | None],
    estimate: Callable[[np.ndarray, np.ndarray], float],
) -> tuple[float, float]:
    """Return how many independent rows each side is worth."""
    reference, current = (
        float(len(rows)) if of_rows is None else estimate(rows, of_rows)
        for rows, of_rows in zip(places, clusters, strict=True)
    )
    return reference, current


def _least_worth(places: list[np.ndarray], clusters: list[np.ndarray | None]) -> tuple[float, float]:
    """Return what each side is worth at least: tests are asymptotic in clusters, not in rows."""
    return _worth(places, clusters, lambda _, of_rows: effective_size.all_alike(of_rows))


def _largest_move(counts: pd.DataFrame) -> str:
    portions = counts / counts.sum()
    moved = int(np.argmax((portions["current"] - portions["reference"]).abs()))
    before, after = portions.iloc[moved]
    return f"share of '{portions.index[moved]}' {before:.0%} -> {after:.0%}"
